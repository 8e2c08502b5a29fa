// Bits into 16-bit words, least significant first.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "coding/common_rans.h"

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

// As they stand in a tensor, the lower byte first.
inline void append_words(std::vector<std::byte>& bytes, const std::vector<uint16_t>& words) {
  for (const uint16_t w : words) {
    bytes.push_back(static_cast<std::byte>(w & 0xFF));
    bytes.push_back(static_cast<std::byte>(w >> 8));
  }
}

// A rANS state, in [2^16, 2^32).
inline void write_state(BitWriter& out, uint32_t x) {
  const int width = std::bit_width(x) - 1;
  out.bits(static_cast<uint64_t>(width - 16), 4);
  out.bits(x - std::bit_floor(x), width);
}

// A bit stream with symbols in it, entropy-coded by one rANS state: what the head of a tensor is.
// rANS runs backwards, so everything is recorded first.
class HeadWriter {
 public:
  void bits(uint64_t value, int count) { items_.push_back({value, static_cast<uint8_t>(count)}); }
  void exp_golomb(uint64_t v, int k) {
    const uint64_t u = v + (uint64_t{1} << k);
    const int n = std::bit_width(u) - 1;
    bits(0, n - k);
    bits(1, 1);
    bits(u - std::bit_floor(u), n);
  }
  // The symbol that owns [start, start + frequency) of 2^precision slots.
  void symbol(uint32_t start, uint32_t frequency, int precision) {
    items_.push_back({uint64_t{start} << 32 | frequency, static_cast<uint8_t>(precision), true});
  }
  // The state stands before the first symbol, a symbol's word behind it.
  std::vector<uint16_t> finish() {
    uint32_t x = kLowerBound;
    std::vector<uint16_t> words(items_.size());
    for (size_t i = items_.size(); i-- > 0;) {
      Item& item = items_[i];
      if (!item.is_symbol) continue;
      const auto f = static_cast<uint32_t>(item.value);
      const auto start = static_cast<uint32_t>(item.value >> 32);
      if (x >= uint64_t{f} << (32 - item.count)) {
        words[i] = static_cast<uint16_t>(x);
        item.has_word = true;
        x >>= 16;
      }
      x = ((x / f) << item.count) + x % f + start;
    }
    BitWriter out;
    bool first = true;
    for (size_t i = 0; i < items_.size(); ++i) {
      const Item& item = items_[i];
      if (!item.is_symbol) {
        out.bits(item.value, item.count);
        continue;
      }
      if (first) write_state(out, x);
      first = false;
      if (item.has_word) out.bits(words[i], 16);
    }
    return out.finish();
  }

 private:
  struct Item {
    uint64_t value;
    uint8_t count;
    bool is_symbol = false, has_word = false;
  };
  std::vector<Item> items_;
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
