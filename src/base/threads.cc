#include "base/threads.h"

#include <algorithm>
#include <utility>

namespace watersic {
namespace {

thread_local bool inside_a_tile = false;

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
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

void ThreadPool::parallel_for(int64_t tiles, const std::function<void(int64_t)>& body) {
  if (inside_a_tile || workers_.empty() || tiles <= 1) {
    for (int64_t i = 0; i < tiles; ++i) body(i);
    return;
  }
  std::unique_lock lock(mutex_);
  job_ =
      Job{.body = &body, .tiles = tiles, .next = 0, .running = 0, .failed_tile = -1, .error = {}};
  wake_.notify_all();
  run_tiles(lock);
  done_.wait(lock, [this] { return job_.next >= job_.tiles && job_.running == 0; });
  job_.body = nullptr;
  if (job_.error) std::rethrow_exception(std::exchange(job_.error, nullptr));
}

// Takes tiles until none is left. A failed tile stops the handing out; of several, the lowest
// counts.
void ThreadPool::run_tiles(std::unique_lock<std::mutex>& lock) {
  while (job_.body != nullptr && job_.next < job_.tiles) {
    const int64_t tile = job_.next++;
    const auto* body = job_.body;
    ++job_.running;
    lock.unlock();
    std::exception_ptr error;
    inside_a_tile = true;
    try {
      (*body)(tile);
    } catch (...) {
      error = std::current_exception();
    }
    inside_a_tile = false;
    lock.lock();
    --job_.running;
    if (error && (job_.failed_tile < 0 || tile < job_.failed_tile)) {
      job_.failed_tile = tile;
      job_.error = error;
      job_.next = job_.tiles;
    }
  }
  if (job_.running == 0) done_.notify_all();
}

void ThreadPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || (job_.body != nullptr && job_.next < job_.tiles); });
    if (stop_) return;
    run_tiles(lock);
  }
}

}  // namespace watersic
