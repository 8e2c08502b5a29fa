// A pool of threads that runs fixed tiles. What a tile computes must not depend on which thread
// runs it, and sums over tiles are made by the caller in the order of the tiles: then the result
// does not depend on the number of threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace watersic {

class ThreadPool {
 public:
  // `threads` >= 1 in all, the caller's included; 0 takes what the machine has.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(i) once for each i in [0, tiles) and returns when all are done. The first exception
  // (in order of tiles) is thrown again here; tiles that were not begun by then are left out.
  //
  // Any thread may call: one that finds the pool at work waits for its turn. Called from inside a
  // body, of this pool or another, it runs serially, so that bodies may call what is parallel.
  void parallel_for(int64_t tiles, const std::function<void(int64_t)>& body);

 private:
  void work();
  void run_tiles();
  void finish();

  std::vector<std::thread> workers_;
  std::mutex turn_;  // of the callers; held by the one whose job it is

  // The job. Written only while it is closed and nobody is in it.
  const std::function<void(int64_t)>* body_ = nullptr;
  int64_t tiles_ = 0;
  std::atomic<bool> open_ = false;
  std::atomic<int64_t> next_ = 0;  // the next tile to hand out
  std::atomic<int> inside_ = 0;    // workers that look at the job
  std::mutex failure_;             // of these two
  int64_t failed_tile_ = -1;
  std::exception_ptr error_;

  // Generating a token makes hundreds of short calls, so workers wait awake for the next job before
  // they sleep, unless there are more threads than processors.
  bool spin_ = false;
  std::atomic<uint64_t> jobs_ = 0;  // so far
  std::atomic<int> asleep_ = 0;
  std::atomic<bool> waiting_ = false;  // the caller, for the last tiles
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<bool> stop_ = false;
};

// The number of tiles of `tile` items that cover `items`.
inline int64_t tile_count(int64_t items, int64_t tile) { return (items + tile - 1) / tile; }

}  // namespace watersic
