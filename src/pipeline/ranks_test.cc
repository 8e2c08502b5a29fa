// The same bytes by any number of ranks, which here are threads.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "pipeline/quantize_by_ranks.h"
#include "support/small_checkpoint.h"
#include "support/thread_ranks.h"
#include "watersic/error.h"

namespace watersic {
namespace {

class RanksTest : public testing::Test {
 protected:
  void SetUp() override {
    ThreadPool pool;
    write_small_checkpoint(pool, folder_ / "model");
  }
  // Calibrated on so many tokens that they make three batches.
  static QuantizeOptions options() {
    QuantizeOptions out;
    out.bits = 2;
    out.calibration = {
        .source = CalibrationOptions::Source::kSelf, .samples = 40, .sequence_length = 128};
    out.trellis = 8;
    out.limits = false;
    out.threads = 1;
    return out;
  }
  std::string bytes_by(int ranks, const QuantizeOptions& options, const StopFn& stop = {}) {
    const std::filesystem::path file = folder_ / "out.wsic";
    ThreadRanks::run(ranks, [&](const Communicator& all) {
      quantize_by_ranks(all, folder_ / "model", file, options, {}, stop);
    });
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  TestFolder folder_{"ranks"};
};

TEST_F(RanksTest, TheSameBytesByAnyNumberOfRanks) {
  const std::string alone = bytes_by(1, options());
  EXPECT_GT(alone.size(), 10000U);
  for (const int ranks : {2, 4}) EXPECT_TRUE(bytes_by(ranks, options()) == alone) << ranks;
}

TEST_F(RanksTest, WithMixingAndMeasuredSensitivity) {
  QuantizeOptions with = options();
  with.calibration.samples = 20;
  with.model.mixing = true;
  with.model.mixing_steps = 1;
  with.model.allocation = Allocation::kSensitivity;
  EXPECT_TRUE(bytes_by(2, with) == bytes_by(1, with));
}

TEST_F(RanksTest, AStoppedRunIsContinuedByMoreOfThem) {
  QuantizeOptions with = options();
  const std::string whole = bytes_by(1, with);
  std::atomic<int> asked = 0;
  EXPECT_THROW(bytes_by(2, with, [&] { return ++asked > 80; }), Interrupted);
  with.resume = true;
  EXPECT_TRUE(bytes_by(3, with) == whole);
}

TEST_F(RanksTest, WhatOneOfThemSeesAllSay) {
  QuantizeOptions with = options();
  with.resume = true;
  try {
    bytes_by(3, with);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("expected an unfinished run, found none"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace watersic
