#include "watersic/report.h"

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "report/page.h"
#include "report/study.h"

namespace watersic {

Report make_report(const std::vector<std::filesystem::path>& files) {
  if (files.empty()) throw Error("report: expected at least one file of a run or an evaluation");
  std::vector<report::Record> records;
  records.reserve(files.size());
  for (const auto& file : files)
    records.push_back(report::read_record(read_json(file), file.string()));
  const report::Study study = report::join(std::move(records));
  return {.html = report::page(study),
          .runs = study.runs.size(),
          .evaluations = study.evaluations.size(),
          .notes = study.notes};
}

}  // namespace watersic
