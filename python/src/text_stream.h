// A text as it is written: by a thread of its own, read piece by piece.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "watersic/generate.h"

namespace watersic::python {

class TextStream {
 public:
  using WriteFn = std::function<GenerateResult(const TextFn&)>;
  // `write` begins at once. It needs no GIL.
  explicit TextStream(WriteFn write);
  ~TextStream() { close(); }
  TextStream(const TextStream&) = delete;
  TextStream& operator=(const TextStream&) = delete;

  enum class Next { kPiece, kEnd, kNothingYet };
  // Waits a while. Throws what the writing threw.
  Next next(std::string& piece);
  // Ends the writing, at the next token, and waits for it.
  void close();
  // None until the text has ended.
  std::optional<GenerateResult> result();

  // Closes all that there are, before the program ends. With the GIL, as destructors have it.
  static void close_all();

 private:
  void run(const WriteFn& write);
  bool put(std::string_view piece);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> pieces_;
  bool closed_ = false, ended_ = false;
  std::exception_ptr error_;
  std::optional<GenerateResult> result_;
  std::mutex joining_;
  std::thread thread_;
};

}  // namespace watersic::python
