#include "io/gguf_blocks.h"

#include <array>
#include <bit>
#include <cassert>
#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace watersic {
namespace {

constexpr int kRun = 16;  // the fewest values that have a scale of their own

constexpr std::array<float, 16> kNonlinear = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};
// Twice the values of 4 bits: a sign, two bits of exponent, one of mantissa.
constexpr std::array<float, 16> kFp4 = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float half_at(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, sizeof half);
  return float_from_half(half);
}

float number(int integer) { return static_cast<float>(integer); }

// The integers of a run: the same bits of bytes that follow each other.
struct Bits {
  const uint8_t* bytes;
  int shift, mask;
  int operator[](int l) const { return bytes[l] >> shift & mask; }
};

// Of 32 values in 16 bytes the first half are the low four bits, the others the high ones.
Bits nibbles(const uint8_t* bytes, int run) { return {bytes, 4 * run, 15}; }

// Superblocks lay out `width` bits of all 256 values in planes of 32: value v of the first plane is
// in the lowest bits of byte v, that of the next in the bits above, and so on until the bytes are
// full.
Bits planes(const uint8_t* bytes, int width, int run) {
  const int plane = run / 2, in_a_byte = 8 / width;
  return {bytes + 32 * (plane / in_a_byte) + kRun * (run % 2), width * (plane % in_a_byte),
          (1 << width) - 1};
}

template <class Value>
void fill(float* out, Value value) {
  for (int l = 0; l < kRun; ++l) out[l] = value(l);
}

// Q4_0 and Q4_1; with a fifth bit for each value, Q5_0 and Q5_1.
template <bool kFifth, bool kMinimum>
void small_block(const uint8_t* block, float* out) {
  const float d = half_at(block), m = kMinimum ? half_at(block + 2) : 0;
  const uint8_t* q = block + (kMinimum ? 4 : 2);
  uint32_t fifth = 0;
  if (kFifth) std::memcpy(&fifth, q, sizeof fifth);
  for (int run = 0; run < 2; ++run) {
    const Bits low = nibbles(q + (kFifth ? sizeof fifth : 0), run);
    fill(out + kRun * run, [&](int l) {
      const int high = static_cast<int>(fifth >> (kRun * run + l) & 1) << 4;
      if (kMinimum) return number(low[l] | high) * d + m;
      return number((low[l] | high) - (kFifth ? 16 : 8)) * d;
    });
  }
}

void bytes_block(const uint8_t* q, float d, float* out) {
  for (int l = 0; l < 32; ++l) out[l] = number(static_cast<int8_t>(q[l])) * d;
}

void table_block(const std::array<float, 16>& table, const uint8_t* q, float d, float* out) {
  for (int run = 0; run < 2; ++run) {
    const Bits index = nibbles(q, run);
    fill(out + kRun * run, [&](int l) { return table[static_cast<size_t>(index[l])] * d; });
  }
}

// 2^(e - 128): half of the power that MXFP4 means, as the table is twice its values.
float half_power(uint8_t e) {
  return std::bit_cast<float>(e < 2 ? uint32_t{0x00200000} << e : (uint32_t{e} - 1) << 23);
}

void q2_k(const uint8_t* block, float* out) {
  const uint8_t *scales = block, *q = block + 16;
  const float d = half_at(block + 80), m = half_at(block + 82);
  for (int run = 0; run < 16; ++run) {
    const float scale = d * number(scales[run] & 15), minimum = m * number(scales[run] >> 4);
    const Bits bits = planes(q, 2, run);
    fill(out + kRun * run, [&](int l) { return scale * number(bits[l]) - minimum; });
  }
}

void q3_k(const uint8_t* block, float* out) {
  const uint8_t *third = block, *q = block + 32, *scales = block + 96;
  const float d = half_at(block + 108);
  for (int run = 0; run < 16; ++run) {
    const int s =
        (scales[run % 8] >> 4 * (run / 8) & 15) | (scales[8 + run % 4] >> 2 * (run / 4) & 3) << 4;
    const float scale = d * number(s - 32);
    const Bits low = planes(q, 2, run), high = planes(third, 1, run);
    fill(out + kRun * run, [&](int l) { return scale * number((low[l] | high[l] << 2) - 4); });
  }
}

// Eight scales and eight minima of 6 bits in 12 bytes: those of the first four runs in the low bits
// of bytes 0 to 7; of the others four bits in bytes 8 to 11, two in the high bits of the bytes
// before.
struct SixBits {
  int scale, minimum;
};
SixBits six_bits(const uint8_t* bytes, int i) {
  if (i < 4) return {.scale = bytes[i] & 63, .minimum = bytes[i + 4] & 63};
  return {.scale = (bytes[i + 4] & 15) | bytes[i - 4] >> 6 << 4,
          .minimum = bytes[i + 4] >> 4 | bytes[i] >> 6 << 4};
}

// Q4_K, and with a fifth bit for each value Q5_K.
void q45_k(const uint8_t* block, bool fifth, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  const uint8_t *scales = block + 4, *high = block + 16, *q = high + (fifth ? 32 : 0);
  for (int run = 0; run < 16; ++run) {
    const SixBits six = six_bits(scales, run / 2);
    const float scale = d * number(six.scale), minimum = m * number(six.minimum);
    const Bits low = planes(q, 4, run);
    Bits top = planes(high, 1, run);
    if (!fifth) top.mask = 0;
    fill(out + kRun * run, [&](int l) { return scale * number(low[l] | top[l] << 4) - minimum; });
  }
}

// The low bits fill 64 bytes for each half of the block: two planes in the low nibbles, two in the
// high ones.
void q6_k(const uint8_t* block, float* out) {
  const uint8_t *q = block, *high = block + 128, *scales = block + 192;
  const float d = half_at(block + 208);
  for (int run = 0; run < 16; ++run) {
    const float scale = d * number(static_cast<int8_t>(scales[run]));
    const Bits low = nibbles(q + 64 * (run / 8) + kRun * (run % 4), run / 4 % 2);
    const Bits top = planes(high, 2, run);
    fill(out + kRun * run, [&](int l) { return scale * number((low[l] | top[l] << 4) - 32); });
  }
}

void iq4_xs(const uint8_t* block, float* out) {
  const float d = half_at(block);
  uint16_t high;
  std::memcpy(&high, block + 2, sizeof high);
  const uint8_t *scales = block + 4, *q = block + 8;
  for (int i = 0; i < 8; ++i) {
    const int s = (scales[i / 2] >> 4 * (i % 2) & 15) | (high >> 2 * i & 3) << 4;
    table_block(kNonlinear, q + 16 * i, d * number(s - 32), out + 32 * i);
  }
}

// Five digits of base 3 in a byte, as the fraction that they are of 3^5, of 256 and rounded up: the
// first digit of the fraction is its product with 3 without the eight bits below.
void tq1_0(const uint8_t* block, float* out) {
  static constexpr std::array<int, 5> kPowers = {1, 3, 9, 27, 81};
  const float d = half_at(block + 52);
  const auto digit = [](int byte, int n) {
    return (byte * kPowers[static_cast<size_t>(n)] & 255) * 3 >> 8;
  };
  for (int run = 0; run < 16; ++run) {
    // 160 values in 32 bytes, 80 in 16, and in the last 4 bytes four of a byte's digits.
    const uint8_t* q = block + (run < 10 ? kRun * (run % 2) : run < 15 ? 32 : 48);
    fill(out + kRun * run, [&](int l) {
      if (run == 15) return number(digit(q[l % 4], l / 4) - 1) * d;
      return number(digit(q[l], run < 10 ? run / 2 : run - 10) - 1) * d;
    });
  }
}

void tq2_0(const uint8_t* block, float* out) {
  const float d = half_at(block + 64);
  for (int run = 0; run < 16; ++run) {
    const Bits bits = planes(block, 2, run);
    fill(out + kRun * run, [&](int l) { return number(bits[l] - 1) * d; });
  }
}

void dequantize_block(GgufType type, const uint8_t* block, float* out) {
  switch (type) {
    case GgufType::kQ4_0:
      return small_block<false, false>(block, out);
    case GgufType::kQ4_1:
      return small_block<false, true>(block, out);
    case GgufType::kQ5_0:
      return small_block<true, false>(block, out);
    case GgufType::kQ5_1:
      return small_block<true, true>(block, out);
    case GgufType::kQ8_0:
      return bytes_block(block + 2, half_at(block), out);
    case GgufType::kQ8_1:  // between them a sum, which products with integers need
      return bytes_block(block + 4, half_at(block), out);
    case GgufType::kQ2_K:
      return q2_k(block, out);
    case GgufType::kQ3_K:
      return q3_k(block, out);
    case GgufType::kQ4_K:
      return q45_k(block, false, out);
    case GgufType::kQ5_K:
      return q45_k(block, true, out);
    case GgufType::kQ6_K:
      return q6_k(block, out);
    case GgufType::kIQ4_NL:
      return table_block(kNonlinear, block + 2, half_at(block), out);
    case GgufType::kIQ4_XS:
      return iq4_xs(block, out);
    case GgufType::kTQ1_0:
      return tq1_0(block, out);
    case GgufType::kTQ2_0:
      return tq2_0(block, out);
    case GgufType::kMXFP4:
      return table_block(kFp4, block + 1, half_power(*block), out);
    case GgufType::kF32:
    case GgufType::kF16:
    case GgufType::kBF16:
      break;
  }
  assert(false);
}

}  // namespace

void dequantize(GgufType type, std::span<const std::byte> blocks, std::span<float> values) {
  const auto size = static_cast<size_t>(block_values(type));
  assert(values.size() % size == 0);
  assert(blocks.size() == values.size() / size * block_bytes(type));
  const auto* block = reinterpret_cast<const uint8_t*>(blocks.data());
  for (size_t i = 0; i < values.size(); i += size, block += block_bytes(type))
    dequantize_block(type, block, values.data() + i);
}

}  // namespace watersic
