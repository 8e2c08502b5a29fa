// What is made of each block's statistics alone: by one rank, while the others are at theirs.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "dist/communicator.h"

namespace watersic {

class BlockWork {
 public:
  BlockWork(const Communicator& ranks, int64_t blocks) : ranks_(ranks), blocks_(blocks) {}

  int owner(int64_t block) const { return static_cast<int>(block % ranks_.size()); }
  bool is_own(int64_t block) const { return owner(block) == ranks_.rank(); }

  // By the owner of a block. One rank does it at once; of several each holds it until all have a
  // block's: statistics are sums that they make together, and who began would keep the others
  // waiting.
  void add(std::function<void()> work) {
    if (ranks_.alone()) {
      work();
    } else {
      held_.push_back(std::move(work));
    }
  }
  // By all ranks, when a block's is added. Throws on all what one of them throws as an Error.
  void end(int64_t block) {
    if (ranks_.alone() || (owner(block) + 1 < ranks_.size() && block + 1 < blocks_)) return;
    together(ranks_, [&] {
      for (auto& work : held_) work();
    });
    held_.clear();
  }

 private:
  const Communicator& ranks_;
  int64_t blocks_;
  std::vector<std::function<void()>> held_;
};

}  // namespace watersic
