// `sweep` as a user runs it; what it does is tested in src/api.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "run.h"

namespace watersic {
namespace {

class Sweep : public Cli {};

TEST_F(Sweep, SweepsToATableAndAPage) {
  ThreadPool pool;
  Json config = small_config();
  config["num_hidden_layers"] = 1;
  write_small_checkpoint(pool, at("model"), 1, config);
  std::string text;
  for (int i = 0; i < 20; ++i) text += "It was the best of times, it was the worst of times.\n";
  overwrite(at("text.txt"), text);
  const std::vector<std::string> arguments = {
      "sweep",        at("model"), "--bits",  "2.5,4",         "--methods", "rtn,gptq",  "--text",
      at("text.txt"), "-o",        at("out"), "--calibration", "none",      "--context", "64"};
  const Outcome first = good(arguments);
  for (const char* part :
       {"\noriginal", "\nrtn ", "\ngptq ", "3 rows, 0 of them found", "report.html"})
    EXPECT_NE(first.out.find(part), std::string::npos) << first.out;
  for (const char* part : {"rtn-2.5: left out", "rtn at 4 bits: "})
    EXPECT_NE(first.err.find(part), std::string::npos) << first.err;
  const std::string csv = contents(at("out/sweep.csv"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 4) << csv;
  EXPECT_EQ(contents(at("out/report.html")).rfind("<!DOCTYPE html>", 0), 0U);
  const Outcome again = good(arguments);
  EXPECT_NE(again.out.find("3 rows, 3 of them found"), std::string::npos) << again.out;

  bad({"sweep", at("model"), "--bits", "4", "--methods", "rtn", "--text", at("text.txt"), "-o",
       at("out"), "--calibration", "none", "--context", "32", "-q"},
      {at("out"), "context", "another folder"});
  bad({"sweep", at("model"), "--text", at("absent.txt"), "-o", at("other"), "-q"}, {"absent.txt"});
  EXPECT_EQ(run({"sweep", at("model"), "-o", at("out")}).code, 2);
  EXPECT_EQ(run({"sweep", at("model"), "--text", "t", "-o", at("out"), "--methods", "magic"}).code,
            2);
  EXPECT_EQ(run({"sweep", at("model"), "--text", "t", "-o", at("out"), "--bits", "two"}).code, 2);
}

}  // namespace
}  // namespace watersic
