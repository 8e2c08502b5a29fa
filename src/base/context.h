// What long work is given besides its data: the threads it runs on, the processes that share it,
// whom it tells how far it is, and whether it shall stop. Loops over data take a ThreadPool alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "base/threads.h"
#include "dist/communicator.h"
#include "watersic/progress.h"

namespace watersic {

class Context {
 public:
  // The pool and the ranks must outlive the object. A pool alone is a context of one rank in which
  // nobody listens and nobody stops the work. `check` is called between steps and throws where the
  // work shall stop; where there are ranks, by all of them together.
  Context(ThreadPool& pool, ProgressFn progress = {}, std::function<void()> check = {},
          const Communicator& ranks = one_rank())
      : pool_(&pool), progress_(std::move(progress)), check_(std::move(check)), ranks_(&ranks) {}

  ThreadPool& pool() const { return *pool_; }
  const Communicator& ranks() const { return *ranks_; }
  const ProgressFn& progress() const { return progress_; }

  void tell(const std::string& stage, const std::string& unit, int64_t done, int64_t total,
            const std::string& detail = "") const {
    if (progress_)
      progress_({.stage = stage, .unit = unit, .done = done, .total = total, .detail = detail});
  }
  void check() const {
    if (check_) check_();
  }
  // Where each rank goes its own way.
  void check_if_alone() const {
    if (ranks_->alone()) check();
  }

  // The same, but each event passes through `change` first.
  Context changed(const std::function<void(ProgressEvent&)>& change) const {
    if (!progress_) return *this;
    return {*pool_,
            [progress = progress_, change](ProgressEvent event) {
              change(event);
              progress(event);
            },
            check_, *ranks_};
  }
  // The same under another name of the stage.
  Context as(const std::string& stage) const {
    return changed([stage](ProgressEvent& event) { event.stage = stage; });
  }

 private:
  ThreadPool* pool_;
  ProgressFn progress_;
  std::function<void()> check_;
  const Communicator* ranks_;
};

}  // namespace watersic
