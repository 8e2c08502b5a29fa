// What is written for a request, on its way from the thread that writes to the one that sends.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/choice_text.h"

namespace watersic {

// News of one choice.
struct Delta {
  int64_t choice = 0;
  TextPiece piece;
  std::string finish;  // "stop" or "length" where it ends
};

// Between two threads: one that writes, and one that reads.
class ServedAnswer {
 public:
  ServedAnswer(int64_t prompt_tokens, int64_t choices)
      : prompt_tokens_(prompt_tokens), unfinished_(choices) {}

  // For the writer. It waits while the reader has much left to read; a push always succeeds.
  bool has_room() const;
  bool cancelled() const;
  void push(Delta delta);
  void count_token();
  void fail(const std::string& error);

  // For the reader: what came since, after waiting for it at most so long; empty if nothing came.
  std::vector<Delta> take(std::chrono::milliseconds wait);
  // All choices have ended, and all was taken; or it failed.
  bool finished() const;
  std::optional<std::string> error() const;
  // Nobody wants it any more.
  void cancel();

  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t written_tokens() const;

 private:
  const int64_t prompt_tokens_;
  mutable std::mutex mutex_;  // of what follows
  std::condition_variable news_;
  std::vector<Delta> deltas_;
  size_t held_bytes_ = 0;  // of those
  int64_t unfinished_, written_ = 0;
  bool cancelled_ = false;
  std::optional<std::string> error_;
};

}  // namespace watersic
