// Bits out of 16-bit words, least significant first; the mirror of enc_bits.h. Whatever the words
// say, nothing outside them is read.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "coding/common_rans.h"
#include "watersic/error.h"

namespace watersic {

[[noreturn]] inline void damaged(const std::string& name, const std::string& what) {
  throw Error(fmt::format("{}: the coded tensor is damaged: {}", name, what));
}

// Little-endian words in bytes of any alignment.
class WordSpan {
 public:
  WordSpan() = default;
  explicit WordSpan(std::span<const std::byte> bytes) : bytes_(bytes) {}
  size_t size() const { return bytes_.size() / 2; }
  uint16_t operator[](size_t i) const {
    return static_cast<uint16_t>(std::to_integer<uint32_t>(bytes_[2 * i]) |
                                 std::to_integer<uint32_t>(bytes_[2 * i + 1]) << 8);
  }
  const std::byte* data() const { return bytes_.data(); }
  WordSpan subspan(size_t first) const { return WordSpan(bytes_.subspan(2 * first)); }
  WordSpan subspan(size_t first, size_t count) const {
    return WordSpan(bytes_.subspan(2 * first, 2 * count));
  }

 private:
  std::span<const std::byte> bytes_;
};

class BitReader {
 public:
  // `name` is what errors call the tensor; both must outlive the reader.
  BitReader(WordSpan words, const std::string& name) : words_(words), name_(&name) {}

  uint64_t bits(int count) {  // 0..48
    while (filled_ < count) {
      if (next_ == words_.size()) damaged(*name_, "its header is cut short");
      pending_ |= static_cast<uint64_t>(words_[next_++]) << filled_;
      filled_ += 16;
    }
    const uint64_t value = pending_ & ((uint64_t{1} << count) - 1);
    pending_ >>= count;
    filled_ -= count;
    size_ += count;
    return value;
  }
  uint64_t exp_golomb(int k) {
    int n = k;
    while (bits(1) == 0) {
      if (++n > 40) damaged(*name_, "a number in its header is too long");
    }
    return (uint64_t{1} << n) + bits(n) - (uint64_t{1} << k);
  }
  // The same, with a bound.
  int64_t number(int k, int64_t max, const char* what) {
    const uint64_t v = exp_golomb(k);
    if (v > static_cast<uint64_t>(max))
      damaged(*name_, fmt::format("{}: expected at most {}, found {}", what, max, v));
    return static_cast<int64_t>(v);
  }
  // A signed number as exp_golomb(k).
  int64_t signed_number(int k) { return unzigzag(exp_golomb(k)); }
  // A rANS state, in [2^16, 2^32).
  uint32_t state() {
    const auto width = static_cast<int>(bits(4)) + 16;
    return static_cast<uint32_t>((uint64_t{1} << width) + bits(width));
  }
  // One of the symbols of these frequencies, of sum 2^precision.
  size_t symbol(const std::vector<uint32_t>& frequencies, int precision) {
    if (x_ == 0) x_ = state();
    const uint32_t slot = x_ & ((1U << precision) - 1);
    size_t s = 0;
    uint32_t start = 0;
    while (slot >= start + frequencies[s]) start += frequencies[s++];
    x_ = frequencies[s] * (x_ >> precision) + slot - start;
    if (x_ < kLowerBound) x_ = x_ << 16 | static_cast<uint32_t>(bits(16));
    return s;
  }
  int64_t size() const { return size_; }          // bits read
  size_t words() const { return words_.size(); }  // in all
  // Skips to the end of the word, which must be zeros; returns the words read.
  size_t finish() {
    if (x_ > kLowerBound) damaged(*name_, "its head does not end where its coding began");
    if (pending_ != 0) damaged(*name_, "its padding is not zero");
    size_ += filled_;
    filled_ = 0;
    return next_;
  }

 private:
  WordSpan words_;
  const std::string* name_;
  size_t next_ = 0;
  uint64_t pending_ = 0;
  int filled_ = 0;
  int64_t size_ = 0;
  uint32_t x_ = 0;  // 0: no symbol yet
};

}  // namespace watersic
