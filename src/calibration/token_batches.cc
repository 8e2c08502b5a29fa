#include "calibration/token_batches.h"

#include <algorithm>
#include <cassert>
#include <exception>

#include "watersic/error.h"

namespace watersic {
namespace {

// Enough for products at full speed; and two windows, where that is not many more, since of a few
// batches each may go to both halves.
constexpr int64_t kTokens = 2048, kTwo = 4096;

}  // namespace

int64_t batch_windows(int64_t length) {
  return std::max({kTokens / length, std::min<int64_t>(2, kTwo / length), int64_t{1}});
}

TokenBatches::TokenBatches(int64_t windows, int64_t length, const Communicator& ranks)
    : rank_(ranks.rank()), ranks_(ranks.size()) {
  assert(windows > 0 && length > 0);
  const int64_t each = batch_windows(length), in_pairs = windows / (2 * each) * (2 * each);
  for (int64_t first = 0; first < windows; first += each) {
    const int64_t count = std::min(each, windows - first);
    const Half half = first >= in_pairs          ? Half::kBoth
                      : batches_.size() % 2 == 0 ? Half::kFirst
                                                 : Half::kSecond;
    batches_.push_back({.first = first,
                        .windows = count,
                        .row = first * length,
                        .rows = count * length,
                        .half = half});
  }
}

int64_t TokenBatches::rounds() const {
  return (static_cast<int64_t>(batches_.size()) + ranks_ - 1) / ranks_;
}

std::span<const TokenBatch> TokenBatches::round(int64_t index) const {
  const auto at = static_cast<size_t>(index * ranks_);
  return std::span(batches_).subspan(at,
                                     std::min(static_cast<size_t>(ranks_), batches_.size() - at));
}

const TokenBatch* TokenBatches::own(int64_t round) const {
  const auto batches = this->round(round);
  return static_cast<size_t>(rank_) < batches.size() ? &batches[static_cast<size_t>(rank_)]
                                                     : nullptr;
}

void for_each_round(const Context& context, const TokenBatches& batches, const RoundWork& work) {
  constexpr int64_t kUnheard = 8;  // rounds in which no rank hears of the others' errors
  const int64_t rounds = batches.rounds();
  std::exception_ptr failed;
  int64_t begun = 0;  // of those since they were heard
  for (int64_t round = 0; round < rounds; ++round) {
    const auto index = static_cast<size_t>(round);
    if (round == begun) context.check();
    try {
      const TokenBatch* batch = batches.own(round);
      if (batch != nullptr && !failed) work.own(index, *batch);
    } catch (const Error&) {
      failed = std::current_exception();
    }
    const bool talk = work.talk ? work.talk(index) : static_cast<bool>(work.after);
    if (talk || context.ranks().alone() || round + 1 == rounds || round + 1 - begun == kUnheard) {
      together(context.ranks(), [&] {
        if (failed) std::rethrow_exception(failed);
      });
      begun = round + 1;
    }
    if (work.after && !failed) work.after(index);
  }
}

}  // namespace watersic
