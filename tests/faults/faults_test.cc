// Every call that touches a file fails once, and the program is killed at every one: what it leaves
// is the whole result, or an error and nothing, and what was begun can be resumed.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <regex>

#include "cli/run.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

// A command over a folder of inputs, and the file or folder that it makes.
struct Scenario {
  std::string name;
  std::vector<std::string> arguments;
  std::string output;
  bool resumes = false;
};

class Faults : public Cli {
 protected:
  void SetUp() override {
    ThreadPool pool;
    fs::create_directory(at("inputs"));
    Json config = small_config();
    config["num_hidden_layers"] = 1;
    write_small_checkpoint(pool, at("inputs/model"), 1, config);
    std::string text;
    for (int i = 0; i < 12; ++i) text += "It was the best of times, it was the worst of times.\n";
    overwrite(at("inputs/text.txt"), text);
    good({"quantize", at("inputs/model"), "-o", at("inputs/m.wsic"), "--method", "huffman-rtn",
          "--bits", "3", "--calibration", "none", "-q", "--report", at("inputs/run.json")});
  }

  std::vector<Scenario> scenarios() const {
    const std::string model = at("work/model"), file = at("work/m.wsic"),
                      text = at("work/text.txt");
    return {
        {"quantize",
         {"quantize", model, "-o", at("work/out.wsic"), "--method", "huffman-gptq", "--bits", "3",
          "--calibration", text, "--samples", "2", "--sequence-length", "32", "--no-limits", "-q"},
         "out.wsic",
         true},
        {"eval",
         {"eval", file, "--text", text, "--context", "32", "--json", at("work/e.json"), "-q"},
         "e.json"},
        {"export safetensors",
         {"export", file, "--to", "safetensors", "-o", at("work/out"), "-q"},
         "out"},
        {"export gguf",
         {"export", file, "--to", "gguf", "-o", at("work/out.gguf"), "-q"},
         "out.gguf"},
        {"finetune",
         {"finetune", file, "--reference", model, "--calibration", text, "-o", at("work/t.wsic"),
          "--samples", "2", "--held-out", "1", "--epochs", "1", "--sequence-length", "32", "-q"},
         "t.wsic"},
        {"rotate",
         {"rotate", model, "-o", at("work/out"), "--calibration", text, "--samples", "2",
          "--sequence-length", "32", "-q"},
         "out"},
        {"sweep",
         {"sweep", model, "--bits", "4", "--methods", "rtn", "--text", text, "-o", at("work/out"),
          "--calibration", "none", "--context", "64", "-q"},
         "out/sweep.csv"},
        {"report", {"report", at("work/run.json"), "-o", at("work/r.html")}, "r.html"},
    };
  }

  std::vector<Scenario> first(size_t count) const {
    std::vector<Scenario> some = scenarios();
    some.resize(std::min(count, some.size()));
    return some;
  }

  // The folder of inputs, anew.
  void fresh() const {
    fs::remove_all(at("work"));
    fs::copy(at("inputs"), at("work"), fs::copy_options::recursive);
  }

  // With the call'th `call` failing, or killed there.
  Outcome faulty(const std::vector<std::string>& arguments, const std::string& call, int64_t number,
                 bool kill = false) const {
    std::string command = fmt::format(
        "LD_PRELOAD='{}' FAULT_ROOT='{}' FAULT_CALL={} FAULT_AT={} FAULT_LOG='{}' {} '{}'",
        WATERSIC_FAULTY_IO, at("work"), call, number, at(".calls"), kill ? "FAULT_KILL=1" : "",
        WATERSIC_BINARY);
    for (const std::string& argument : arguments) command += " '" + argument + "'";
    command += " >'" + at(".out") + "' 2>'" + at(".err") + "'";
    const int status = std::system(command.c_str());
    return {.code = WEXITSTATUS(status), .out = contents(at(".out")), .err = contents(at(".err"))};
  }

  // Bytes of a file, or of all files of a folder, by name.
  std::string result_of(const std::string& output) const {
    const fs::path path = at("work/" + output);
    if (!fs::exists(path)) return {};
    if (!fs::is_directory(path)) return without_times(contents(path));
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(path)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    std::string all;
    for (const fs::path& file : files) all += file.filename().string() + contents(file);
    return all;
  }
  // Evaluations and sweeps say how long they took.
  static std::string without_times(const std::string& text) {
    if (text.size() > 100000) return text;
    static const std::regex times("\"seconds\": [^\n]*|,[0-9]+[.][0-9],[0-9]+[.][0-9],");
    return std::regex_replace(text, times, "");
  }

  std::vector<std::string> temporary_files() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(at("work")))
      if (entry.path().filename().string().find(".tmp-") != std::string::npos)
        found.push_back(entry.path().string());
    return found;
  }

  // Runs what was interrupted to its end.
  std::string resumed(const Scenario& scenario) const {
    std::vector<std::string> arguments = scenario.arguments;
    if (fs::exists(at("work/" + scenario.output + ".work/run.json")))
      arguments.push_back("--resume");
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 0) << scenario.name << ": " << outcome.err;
    return result_of(scenario.output);
  }

  // How many of the calls there are, and what comes out where none fails.
  int64_t count(const Scenario& scenario, const std::string& call, std::string& result) const {
    fresh();
    const Outcome outcome = faulty(scenario.arguments, call, 0);
    EXPECT_EQ(outcome.code, 0) << scenario.name << ": " << outcome.err;
    result = result_of(scenario.output);
    EXPECT_FALSE(result.empty()) << scenario.name;
    return std::atoll(contents(at(".calls")).c_str());
  }

  struct Tally {
    int64_t calls = 0, tried = 0, refused = 0, unharmed = 0;
  };

  Tally fail_each(const Scenario& scenario, const std::string& call, int64_t most) const {
    std::string whole;
    Tally tally{.calls = count(scenario, call, whole)};
    const int64_t step = std::max<int64_t>(1, tally.calls / most);
    for (int64_t number = 1; number <= tally.calls; number += step) {
      fresh();
      const Outcome outcome = faulty(scenario.arguments, call, number);
      const std::string what =
          fmt::format("{}, {} {} of {}: {}", scenario.name, call, number, tally.calls, outcome.err);
      ++tally.tried;
      EXPECT_TRUE(temporary_files().empty()) << what << temporary_files().front();
      const std::string left = result_of(scenario.output);
      if (outcome.code == 0) {
        ++tally.unharmed;
        EXPECT_EQ(left == whole, true) << what;
        continue;
      }
      ++tally.refused;
      EXPECT_EQ(outcome.code, 1) << what;
      EXPECT_EQ(outcome.err.rfind("watersic: error: ", 0), 0U) << what;
      EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << what;
      // Renamed, but the folder could not be synced: it is whole.
      EXPECT_TRUE(left.empty() || left == whole) << what;
      if (!scenario.resumes) continue;
      EXPECT_EQ(resumed(scenario) == whole, true) << what;
    }
    return tally;
  }

  int64_t kill_at_each(const Scenario& scenario, int64_t most) const {
    std::string whole;
    const int64_t calls = count(scenario, "any", whole), step = std::max<int64_t>(1, calls / most);
    int64_t tried = 0;
    for (int64_t number = 1; number <= calls; number += step) {
      fresh();
      faulty(scenario.arguments, "any", number, true);
      const std::string what =
          fmt::format("{}, killed at call {} of {}", scenario.name, number, calls);
      const std::string left = result_of(scenario.output);
      EXPECT_TRUE(left.empty() || left == whole) << what;
      // What a killed run leaves beside its files goes with the next.
      if (left.empty() || scenario.resumes || !temporary_files().empty()) {
        EXPECT_EQ(resumed(scenario) == whole, true) << what;
      }
      EXPECT_TRUE(temporary_files().empty()) << what << ": " << temporary_files().front();
      ++tried;
    }
    return tried;
  }

  // The first `count` scenarios, at most about so many of each kind of call.
  void fail_all(size_t count, int64_t most) const {
    for (const Scenario& scenario : first(count)) {
      for (const char* call :
           {"open", "create", "write", "truncate", "sync", "rename", "map", "close"}) {
        const Tally tally = fail_each(scenario, call, most);
        if (tally.calls > 0)
          std::cout << fmt::format(
              "{:20} {:9} {:4} calls, {:4} tried: {:4} refused, {:4} unharmed\n", scenario.name,
              call, tally.calls, tally.tried, tally.refused, tally.unharmed);
      }
    }
  }
  void kill_all(size_t count, int64_t most) const {
    for (const Scenario& scenario : first(count))
      std::cout << fmt::format("{:20} killed {:4} times\n", scenario.name,
                               kill_at_each(scenario, most));
  }
};

constexpr int64_t kAll = 1 << 30;

TEST_F(Faults, ACallThatFailsLeavesNothingHalf) { fail_all(1, 1); }
TEST_F(Faults, AKilledRunLeavesNothingHalf) { kill_all(1, 2); }
TEST_F(Faults, NightlyEveryCallFailsOnce) { fail_all(kAll, kAll); }
TEST_F(Faults, NightlyKilledAtEveryCall) { kill_all(kAll, kAll); }

}  // namespace
}  // namespace watersic
