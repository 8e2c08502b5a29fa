// The calibration windows in batches, and which rank computes which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/context.h"
#include "calibration/halves.h"
#include "dist/communicator.h"

namespace watersic {

struct TokenBatch {
  int64_t first = 0, windows = 0;  // of the windows
  int64_t row = 0, rows = 0;       // of the tokens of all windows
  Half half = Half::kBoth;         // as many tokens go to one as to the other, or nearly
};

// Windows of `length` tokens in a batch.
int64_t batch_windows(int64_t length);

// Batches depend on the windows alone. They go in rounds: in each, rank r has the r-th. What a rank
// found of its own goes to those that make the sums (calibration/halves.h), and is added there in
// the order of the batches, so that sums are the same for any number of ranks.
class TokenBatches {
 public:
  TokenBatches(int64_t windows, int64_t length, const Communicator& ranks);

  int64_t rounds() const;
  // One for each rank, or fewer in the last round.
  std::span<const TokenBatch> round(int64_t index) const;
  // This rank's, or nothing.
  const TokenBatch* own(int64_t round) const;
  int64_t tokens() const { return batches_.back().row + batches_.back().rows; }

 private:
  int rank_, ranks_;
  std::vector<TokenBatch> batches_;
};

// What ranks do round by round.
struct RoundWork {
  // For each round in which this rank has a batch. What it throws as an Error, all ranks throw.
  std::function<void(size_t round, const TokenBatch&)> own;
  // After each round, by all ranks.
  std::function<void(size_t round)> after = {};
  // Whether ranks tell each other anything after that round: where they don't, none waits for the
  // others. All say the same. Left out: they do, where there is an `after`.
  std::function<bool(size_t round)> talk = {};
};
// The work may be stopped before each round in which ranks talk, and every few rounds.
void for_each_round(const Context& context, const TokenBatches& batches, const RoundWork& work);

}  // namespace watersic
