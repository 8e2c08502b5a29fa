// The thread that writes: requests' choices go through a queue into a batch of the engine.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/batch.h"
#include "server/answer.h"
#include "server/metrics.h"
#include "tokenizer/tokenizer.h"

namespace watersic {

struct SchedulerLimits {
  int64_t parallel = 4;  // choices that are written at once
  int64_t waiting = 32;  // choices that wait for a place
};

// A request as the engine takes it. Choice i has the seed order.seed + i.
struct AnswerOrder {
  TextOrder order;
  int64_t count = 1;
  std::vector<std::string> stop;
};

class Scheduler {
 public:
  // Pool, model and tokenizer must outlive it.
  Scheduler(ThreadPool& pool, const ForwardModel& model, CacheType cache,
            const Tokenizer& tokenizer, const SchedulerLimits& limits);
  // Answers that are not finished fail.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Throws ApiError: 429 where too many wait, 503 where it drains.
  std::shared_ptr<ServedAnswer> submit(const AnswerOrder& order);
  // To be told where a reader has taken something, or wants nothing any more.
  void wake();
  // Takes no more.
  void drain();
  bool draining() const;
  Load load() const;

 private:
  class ChoiceWriter;
  struct Waiting {
    TextOrder order;
    std::shared_ptr<ChoiceWriter> writer;
  };
  void run();
  void admit();
  void forget_cancelled();

  const Tokenizer& tokenizer_;
  SchedulerLimits limits_;
  Engine engine_;
  Batch batch_;  // the thread's own

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;
  bool draining_ = false, ending_ = false, woken_ = false;
  Load load_;
  std::thread thread_;
};

}  // namespace watersic
