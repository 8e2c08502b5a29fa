// A pool of threads that runs fixed tiles. What a tile computes must not depend on which thread
// runs it, and sums over tiles are made by the caller in the order of the tiles: then the result
// does not depend on the number of threads.
#pragma once

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
  // (in order of tiles) is thrown again here. Called from inside a body, it runs serially.
  void parallel_for(int64_t tiles, const std::function<void(int64_t)>& body);

 private:
  struct Job {
    const std::function<void(int64_t)>* body = nullptr;
    int64_t tiles = 0;
    int64_t next = 0;     // the next tile to hand out
    int64_t running = 0;  // tiles handed out and not finished
    int64_t failed_tile = -1;
    std::exception_ptr error;
  };

  void work();
  void run_tiles(std::unique_lock<std::mutex>& lock);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Job job_;
  bool stop_ = false;
};

// The number of tiles of `tile` items that cover `items`.
inline int64_t tile_count(int64_t items, int64_t tile) { return (items + tile - 1) / tile; }

}  // namespace watersic
