// Bits into 16-bit words, least significant first.
#pragma once

#include <bit>
#include <cassert>
#include <cstdint>
#include <vector>

namespace watersic {

// The length of v in the Exp-Golomb code of parameter k.
inline int exp_golomb_bits(uint64_t v, int k) {
  const int n = std::bit_width(v + (uint64_t{1} << k)) - 1;
  return 2 * n - k + 1;
}

class BitWriter {
 public:
  // The low `count` (0..57) bits of `value`, which has no others.
  void bits(uint64_t value, int count) {
    assert(count >= 0 && count <= 48 && (value >> count) == 0);
    pending_ |= value << filled_;
    filled_ += count;
    size_ += count;
    while (filled_ >= 16) {
      words_.push_back(static_cast<uint16_t>(pending_));
      pending_ >>= 16;
      filled_ -= 16;
    }
  }
  // Exp-Golomb: v + 2^k has n + 1 bits; n - k zeros, a one, the low n bits. v < 2^40.
  void exp_golomb(uint64_t v, int k) {
    const uint64_t u = v + (uint64_t{1} << k);
    const int n = std::bit_width(u) - 1;
    bits(0, n - k);
    bits(1, 1);
    bits(u - std::bit_floor(u), n);
  }
  int64_t size() const { return size_; }  // bits written
  // The words, the last filled up with zeros; the writer is empty then.
  std::vector<uint16_t> finish() {
    if (filled_ > 0) bits(0, 16 - filled_);
    size_ = 0;
    return std::move(words_);
  }

 private:
  std::vector<uint16_t> words_;
  uint64_t pending_ = 0;
  int filled_ = 0;
  int64_t size_ = 0;
};

// Counts what BitWriter would write.
class BitCounter {
 public:
  void bits(uint64_t /*value*/, int count) { size_ += count; }
  void exp_golomb(uint64_t v, int k) { size_ += exp_golomb_bits(v, k); }
  int64_t size() const { return size_; }

 private:
  int64_t size_ = 0;
};

}  // namespace watersic
