// Zeroed memory for weights: aligned to cache lines, in huge pages where the system gives them (a
// product goes through all of it, page after page).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

namespace watersic {

class AlignedBytes {
 public:
  AlignedBytes() = default;
  explicit AlignedBytes(int64_t size);  // throws std::bad_alloc

  int64_t size() const { return size_; }
  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  std::span<uint8_t> span() { return {data_.get(), static_cast<size_t>(size_)}; }
  std::span<const uint8_t> span() const { return {data_.get(), static_cast<size_t>(size_)}; }

 private:
  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  std::unique_ptr<uint8_t[], Free> data_;
  int64_t size_ = 0;
};

}  // namespace watersic
