#include "text_stream.h"

#include <chrono>
#include <set>
#include <utility>

namespace watersic::python {
namespace {

constexpr size_t kPieces = 256;  // written ahead of the reader
constexpr auto kWait = std::chrono::milliseconds(100);

struct Open {
  std::mutex mutex;
  std::set<TextStream*> streams;
};
Open& open_streams() {
  static Open* open = new Open;  // lives as long as the last thread
  return *open;
}

}  // namespace

TextStream::TextStream(WriteFn write) {
  Open& open = open_streams();
  const std::lock_guard lock(open.mutex);
  open.streams.insert(this);
  thread_ = std::thread([this, write = std::move(write)] { run(write); });
}

void TextStream::run(const WriteFn& write) {
  std::optional<GenerateResult> result;
  std::exception_ptr error;
  try {
    result = write([this](std::string_view piece) { return put(piece); });
  } catch (...) {
    error = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  result_ = std::move(result);
  error_ = error;
  ended_ = true;
  changed_.notify_all();
}

bool TextStream::put(std::string_view piece) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || pieces_.size() < kPieces; });
  if (closed_) return false;
  pieces_.emplace_back(piece);
  changed_.notify_all();
  return true;
}

TextStream::Next TextStream::next(std::string& piece) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kWait, [this] { return closed_ || ended_ || !pieces_.empty(); });
  if (closed_) return Next::kEnd;
  if (!pieces_.empty()) {
    piece = std::move(pieces_.front());
    pieces_.pop_front();
    changed_.notify_all();
    return Next::kPiece;
  }
  if (!ended_) return Next::kNothingYet;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  return Next::kEnd;
}

std::optional<GenerateResult> TextStream::result() {
  const std::lock_guard lock(mutex_);
  return result_;
}

void TextStream::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  {
    const std::lock_guard lock(joining_);
    if (thread_.joinable()) thread_.join();
  }
  Open& open = open_streams();
  const std::lock_guard lock(open.mutex);
  open.streams.erase(this);
}

void TextStream::close_all() {
  Open& open = open_streams();
  while (true) {
    TextStream* stream = nullptr;
    {
      const std::lock_guard lock(open.mutex);
      if (open.streams.empty()) return;
      stream = *open.streams.begin();
    }
    stream->close();
  }
}

}  // namespace watersic::python
