// The files of runs and evaluations (report/records.h), and the page that is made of them.
#include <nlohmann/json.hpp>

#include "fuzz.h"
#include "report/page.h"
#include "report/records.h"
#include "report/study.h"
#include "support/sample_records.h"

namespace watersic {

std::vector<std::string> fuzz_seeds() {
  return {report::sample_run("watersic", 2, "a").dump(), report::sample_evaluation("a", 0.1).dump(),
          report::sample_task("a").dump()};
}

void fuzz_input(const std::string& input) {
  std::vector<report::Record> records;
  records.push_back(report::read_record(parse_json(input, "record"), "record"));
  report::page(report::join(std::move(records)));
}

std::string fuzz_mutate(const std::string& input, Rng& rng) {
  return rng.below(8) != 0 ? mutate_json(input, rng) : mutate_bytes(input, rng);
}

}  // namespace watersic
