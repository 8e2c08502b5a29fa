// What the server counts, as Prometheus reads it.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace watersic {

// Of the scheduler, as it is now.
struct Load {
  int64_t running = 0, waiting = 0;  // choices
  int64_t cache_bytes = 0;
  int64_t prompt_tokens = 0, written_tokens = 0, steps = 0;  // so far
  double step_seconds = 0;                                   // so far
};

class Metrics {
 public:
  void count_answer(const std::string& path, int status);
  void count_disconnect();
  void first_token_after(double seconds);
  void answered_after(double seconds);

  // The text format of version 0.0.4.
  std::string text(const Load& load) const;

 private:
  struct Summary {
    double sum = 0;
    int64_t count = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> answers_;
  int64_t disconnects_ = 0;
  Summary first_token_, whole_;
};

}  // namespace watersic
