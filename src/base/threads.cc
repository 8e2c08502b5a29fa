#include "base/threads.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace watersic {
namespace {

thread_local bool inside_a_tile = false;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits awake for some tens of microseconds; whether it came true.
template <class Condition>
bool comes_soon(const Condition& condition) {
  constexpr auto kPatience = std::chrono::microseconds(50);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  do {
    for (int i = 0; i < 64; ++i) {
      if (condition()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  const auto processors = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  if (threads <= 0) threads = processors;
  spin_ = threads <= processors;
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// All atomics are sequentially consistent, on which three things rest: a worker that has entered
// either finds the job closed or is seen inside by who closed it; one that falls asleep sees the
// new job or is seen asleep; one that leaves last sees the caller waiting or is seen to be gone.
void ThreadPool::parallel_for(int64_t tiles, const std::function<void(int64_t)>& body) {
  if (inside_a_tile || workers_.empty() || tiles <= 1) {
    for (int64_t i = 0; i < tiles; ++i) body(i);
    return;
  }
  const std::lock_guard turn(turn_);
  body_ = &body;
  tiles_ = tiles;
  next_ = 0;
  failed_tile_ = -1;
  open_ = true;
  ++jobs_;
  if (asleep_ > 0) {
    const std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  run_tiles();
  open_ = false;
  finish();
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

// Waits until no worker is inside.
void ThreadPool::finish() {
  const auto gone = [this] { return inside_ == 0; };
  if (gone() || (spin_ && comes_soon(gone))) return;
  waiting_ = true;
  {
    std::unique_lock lock(mutex_);
    done_.wait(lock, gone);
  }
  waiting_ = false;
}

// Takes tiles until none is left. A failed tile stops the handing out; of several, the lowest
// counts.
void ThreadPool::run_tiles() {
  inside_a_tile = true;
  for (int64_t tile = next_++; tile < tiles_; tile = next_++) {
    try {
      (*body_)(tile);
    } catch (...) {
      const std::lock_guard lock(failure_);
      if (failed_tile_ < 0 || tile < failed_tile_) {
        failed_tile_ = tile;
        error_ = std::current_exception();
      }
      next_ = tiles_;
    }
  }
  inside_a_tile = false;
}

void ThreadPool::work() {
  uint64_t seen = 0;
  const auto called = [&] { return stop_ || jobs_ != seen; };
  while (true) {
    if (!spin_ || !comes_soon(called)) {
      std::unique_lock lock(mutex_);
      ++asleep_;
      wake_.wait(lock, called);
      --asleep_;
    }
    if (stop_) return;
    seen = jobs_;
    ++inside_;
    if (open_) run_tiles();
    if (--inside_ == 0 && waiting_) {
      const std::lock_guard lock(mutex_);
      done_.notify_all();
    }
  }
}

}  // namespace watersic
