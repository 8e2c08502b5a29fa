#include "server/answer.h"

namespace watersic {
namespace {

constexpr size_t kMostHeldBytes = size_t{64} << 10;

size_t bytes_of(const Delta& delta) {
  size_t bytes = sizeof(Delta) + delta.piece.text.size();
  for (const PlacedToken& placed : delta.piece.tokens)
    bytes +=
        sizeof(PlacedToken) + placed.token.likelihoods.likeliest.size() * sizeof(TokenLikelihood);
  return bytes;
}

}  // namespace

bool ServedAnswer::has_room() const {
  const std::lock_guard lock(mutex_);
  return held_bytes_ < kMostHeldBytes;
}

bool ServedAnswer::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_ || error_;
}

void ServedAnswer::push(Delta delta) {
  const std::lock_guard lock(mutex_);
  if (!delta.finish.empty()) --unfinished_;
  held_bytes_ += bytes_of(delta);
  deltas_.push_back(std::move(delta));
  news_.notify_one();
}

void ServedAnswer::count_token() {
  const std::lock_guard lock(mutex_);
  ++written_;
}

void ServedAnswer::fail(const std::string& error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = error;
  news_.notify_one();
}

std::vector<Delta> ServedAnswer::take(std::chrono::milliseconds wait) {
  std::unique_lock lock(mutex_);
  news_.wait_for(lock, wait, [&] { return !deltas_.empty() || error_; });
  held_bytes_ = 0;
  return std::exchange(deltas_, {});
}

bool ServedAnswer::finished() const {
  const std::lock_guard lock(mutex_);
  return error_ || (unfinished_ == 0 && deltas_.empty());
}

std::optional<std::string> ServedAnswer::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void ServedAnswer::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
}

int64_t ServedAnswer::written_tokens() const {
  const std::lock_guard lock(mutex_);
  return written_;
}

}  // namespace watersic
