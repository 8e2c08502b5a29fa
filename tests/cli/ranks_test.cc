// quantize by several processes, as mpirun starts them. Only where the build has MPI.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "run.h"

namespace watersic {
namespace {

#ifdef WATERSIC_MPIRUN
constexpr const char* kMpirun = WATERSIC_MPIRUN
    " --allow-run-as-root --oversubscribe --bind-to none --mca btl_tcp_if_include lo"
    " --mca oob_tcp_if_include lo -n ";
#endif

class CliRanks : public Cli {
 protected:
  void SetUp() override {
#ifndef WATERSIC_MPIRUN
    GTEST_SKIP() << "this build has no MPI (-DWATERSIC_MPI=ON)";
#else
    ThreadPool pool;
    write_small_checkpoint(pool, at("model"));
#endif
  }
  std::vector<std::string> quantize(const std::string& output) const {
    return {"quantize",    at("model"),         "-o",  at(output),  "--bits",
            "2",           "--sequence-length", "128", "--samples", "40",
            "-q",          "--trellis",         "8",   "--seed",    "1",
            "--no-limits", "--threads",         "1"};
  }
  Outcome by_ranks([[maybe_unused]] int count, const std::vector<std::string>& arguments) const {
#ifdef WATERSIC_MPIRUN
    return run_by(kMpirun + std::to_string(count), arguments);
#else
    return run(arguments);
#endif
  }
  static int messages(const Outcome& outcome) {
    int count = 0;
    for (size_t at = outcome.err.find("watersic: "); at != std::string::npos;
         at = outcome.err.find("watersic: ", at + 1))
      ++count;
    return count;
  }
};

TEST_F(CliRanks, MakeTheSameFileAsOne) {
  good(quantize("one.wsic"));
  for (const int count : {2, 3}) {
    const std::string name = std::to_string(count) + ".wsic";
    const Outcome outcome = by_ranks(count, quantize(name));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_TRUE(contents(at(name)) == contents(at("one.wsic"))) << count;
  }
}

TEST_F(CliRanks, SayOnceWhatIsWrong) {
  std::vector<std::string> arguments = quantize("out.wsic");
  arguments.emplace_back("--resume");
  Outcome outcome = by_ranks(2, arguments);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(messages(outcome), 1) << outcome.err;
  EXPECT_NE(outcome.err.find("expected an unfinished run"), std::string::npos) << outcome.err;

  outcome = by_ranks(2, {"inspect", at("model")});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(messages(outcome), 1) << outcome.err;
  EXPECT_NE(outcome.err.find("inspect: runs in one process, not in 2"), std::string::npos);

  outcome = by_ranks(2, {"quantize", "--no-such-option"});
  EXPECT_EQ(outcome.code, 2) << outcome.err;
}

#ifdef WATERSIC_MPIRUN
TEST_F(CliRanks, MustBeAlike) {
  const std::string script = at("rank.sh");
  const auto with = [&](const std::string& argument) {
    std::string command = "exec '" WATERSIC_BINARY "'";
    for (const std::string& word : quantize("out.wsic")) command += " '" + word + "'";
    overwrite(script, "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then\n  set -- " + argument +
                          "\nfi\n" + command + " \"$@\"\n");
    return run_by(kMpirun + std::string("2 sh ") + script, {}, "");
  };
  Outcome outcome = with("--order falling");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(messages(outcome), 1) << outcome.err;
  EXPECT_NE(outcome.err.find("rank 1 is unlike rank 0: options: order: was \"native\", is "
                             "\"falling\""),
            std::string::npos)
      << outcome.err;
  // One that does not even begin ends the others.
  outcome = with("--no-such-option");
  EXPECT_NE(outcome.code, 0);
  EXPECT_NE(outcome.err.find("no-such-option"), std::string::npos) << outcome.err;
}

TEST_F(CliRanks, ARunWhoseRankWasKilledIsResumed) {
  good(quantize("one.wsic"));
  // Rank 1 kills itself as soon as a stage is finished.
  std::string command = "'" WATERSIC_BINARY "'";
  for (const std::string& argument : quantize("out.wsic")) command += " '" + argument + "'";
  const std::string script = at("rank.sh");
  overwrite(script,
            "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then\n  (until ls '" + at("out.wsic.work") +
                "'/block-*.json >/dev/null 2>&1; do sleep 0.01; done; kill -9 $$) &\nfi\nexec " +
                command + "\n");
  const Outcome killed = run_by(kMpirun + std::string("2 sh ") + script, {}, "");
  EXPECT_NE(killed.code, 0);
  EXPECT_EQ(contents(at("out.wsic")), "");
  std::vector<std::string> resume = quantize("out.wsic");
  resume.emplace_back("--resume");
  const Outcome outcome = by_ranks(3, resume);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(contents(at("out.wsic")) == contents(at("one.wsic")));
}
#endif

}  // namespace
}  // namespace watersic
