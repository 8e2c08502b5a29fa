#include "io/gguf_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "base/half.h"

namespace watersic {
namespace {

using Bytes = std::vector<uint8_t>;

const std::vector<GgufType> kQuantized = {
    GgufType::kQ4_0,  GgufType::kQ4_1,  GgufType::kQ5_0,   GgufType::kQ5_1,
    GgufType::kQ8_0,  GgufType::kQ8_1,  GgufType::kQ2_K,   GgufType::kQ3_K,
    GgufType::kQ4_K,  GgufType::kQ5_K,  GgufType::kQ6_K,   GgufType::kIQ4_NL,
    GgufType::kTQ1_0, GgufType::kTQ2_0, GgufType::kIQ4_XS, GgufType::kMXFP4};

std::vector<float> values_of(GgufType type, const Bytes& bytes) {
  const size_t blocks = bytes.size() / block_bytes(type);
  std::vector<float> values(blocks * static_cast<size_t>(block_values(type)));
  dequantize(type, std::as_bytes(std::span(bytes)), values);
  return values;
}

// Blocks of zeros but for some bytes, and values worked out by hand. 0x3C00 is the half 1, 0x3800
// is 0.5, 0xC000 is -2, 0x0001 is 2^-24.
TEST(GgufBlocks, ByHand) {
  struct Case {
    GgufType type;
    std::vector<std::pair<size_t, uint8_t>> bytes;
    std::vector<std::pair<size_t, float>> values;
  };
  const std::vector<Case> cases = {
      {GgufType::kQ4_0,
       {{1, 0x38}, {2, 0x0F}, {17, 0xF0}},
       {{0, 3.5F}, {16, -4}, {15, -4}, {31, 3.5F}, {1, -4}}},
      {GgufType::kQ4_1, {{1, 0xC0}, {3, 0x3C}, {4, 0x21}}, {{0, -1}, {16, -3}, {1, 1}, {31, 1}}},
      {GgufType::kQ5_0,
       {{1, 0x3C}, {2, 0x01}, {5, 0x80}, {6, 0x0F}},
       {{0, 15}, {16, -16}, {31, 0}, {1, -16}}},
      {GgufType::kQ5_1, {{1, 0x38}, {3, 0xC0}, {6, 0x01}, {8, 0x10}}, {{16, 6.5F}, {0, -2}}},
      {GgufType::kQ8_0,
       {{0, 0x01}, {2, 0x80}, {33, 0x7F}},
       {{0, -0x1p-17F}, {31, 127 * 0x1p-24F}, {1, 0}}},
      // The sum of the block, here NaN, is not a part of its values.
      {GgufType::kQ8_1, {{1, 0x3C}, {2, 0xFF}, {3, 0x7F}, {4, 0xFF}}, {{0, -1}, {1, 0}}},
      {GgufType::kQ2_K,
       {{0, 0x23}, {15, 0xF0}, {16, 0x02}, {81, 0x3C}, {83, 0x38}},
       {{0, 5}, {1, -1}, {16, 0}, {32, 0}, {255, -7.5F}}},
      {GgufType::kQ3_K,
       {{0, 0x01}, {32, 0x03}, {103, 0x10}, {107, 0x80}, {109, 0x3C}},
       {{0, -96}, {1, 128}, {32, 128}, {240, -4}, {255, -4}}},
      // The fifth scale and minimum take two bits each from the first ones' bytes.
      {GgufType::kQ4_K,
       {{1, 0x3C}, {3, 0x3C}, {4, 0xFF}, {8, 0x42}, {12, 0x35}, {16, 0x0F}, {80, 0x01}},
       {{0, 943}, {1, -2}, {128, 34}, {129, -19}, {255, 0}}},
      {GgufType::kQ5_K,
       {{1, 0x3C}, {4, 0x01}, {15, 0x02}, {16, 0x01}, {47, 0x80}, {48, 0x0F}},
       {{0, 31}, {1, 0}, {255, 32}, {254, 0}}},
      {GgufType::kQ6_K,
       {{0, 0x0F}, {127, 0xF0}, {128, 0x03}, {191, 0xC0}, {192, 0x80}, {207, 1}, {209, 0x38}},
       {{0, -1984}, {1, 2048}, {16, 0}, {255, 15.5F}, {254, -16}}},
      {GgufType::kIQ4_NL, {{1, 0x3C}, {2, 0xF0}}, {{0, -127}, {16, 113}, {1, -127}}},
      {GgufType::kIQ4_XS,
       {{1, 0x3C}, {3, 0x80}, {7, 0x10}, {8, 0x08}},
       {{0, -32}, {1, 4064}, {16, 4064}, {224, -127}, {255, -127}}},
      // A byte of 255 is five times the digit 2, one of 128 five times 1.
      {GgufType::kTQ1_0,
       {{0, 0xFF}, {33, 0x80}, {48, 0xFF}, {53, 0xC0}},
       {{0, -2}, {128, -2}, {1, 2}, {161, 0}, {225, 0}, {240, -2}, {252, -2}, {255, 2}}},
      {GgufType::kTQ2_0,
       {{0, 0x02}, {32, 0x04}, {63, 0xC0}, {65, 0x3C}},
       {{0, 1}, {1, -1}, {160, 0}, {255, 2}}},
      {GgufType::kMXFP4, {{0, 128}, {1, 0x1F}}, {{0, -12}, {16, 1}, {1, 0}}},
      {GgufType::kMXFP4, {{0, 0}, {1, 0x71}}, {{0, 0x1p-128F}, {16, 12 * 0x1p-128F}}},
      {GgufType::kMXFP4, {{0, 1}, {1, 0x71}}, {{0, 0x1p-127F}, {16, 12 * 0x1p-127F}}},
      {GgufType::kMXFP4, {{0, 2}, {1, 0x01}}, {{0, 0x1p-126F}}},
  };
  for (const Case& c : cases) {
    Bytes block(block_bytes(c.type));
    for (const auto& [at, byte] : c.bytes) block[at] = byte;
    const std::vector<float> values = values_of(c.type, block);
    for (const auto& [at, value] : c.values)
      EXPECT_EQ(values[at], value) << to_string(c.type) << ", value " << at;
  }
}

// What a block is made of. Of types that have no minima, runs or fifth bits those are not used.
struct Parts {
  uint16_t d, m;                              // halves
  std::function<int(int)> q, scale, minimum;  // of a value; of a run
};

void put_half(Bytes& block, size_t at, uint16_t half) {
  block[at] = static_cast<uint8_t>(half);
  block[at + 1] = static_cast<uint8_t>(half >> 8);
}
void put_bits(Bytes& block, int at, int bits) {
  block[static_cast<size_t>(at)] |= static_cast<uint8_t>(bits);
}

// The formats' descriptions the other way round: each value's bits to their place in the block.
Bytes packed(GgufType type, const Parts& p) {
  Bytes b(block_bytes(type));
  const auto values = static_cast<int>(block_values(type));
  const auto each = [&](const auto& put) {
    for (int v = 0; v < values; ++v) put(v, p.q(v));
  };
  switch (type) {
    case GgufType::kQ4_0:
    case GgufType::kIQ4_NL:
      put_half(b, 0, p.d);
      each([&](int v, int q) { put_bits(b, 2 + v % 16, q << (v < 16 ? 0 : 4)); });
      break;
    case GgufType::kQ4_1:
      put_half(b, 0, p.d);
      put_half(b, 2, p.m);
      each([&](int v, int q) { put_bits(b, 4 + v % 16, q << (v < 16 ? 0 : 4)); });
      break;
    case GgufType::kQ5_0:
    case GgufType::kQ5_1: {
      const int start = type == GgufType::kQ5_0 ? 2 : 4;
      put_half(b, 0, p.d);
      if (start == 4) put_half(b, 2, p.m);
      each([&](int v, int q) {
        put_bits(b, start + v / 8, (q >> 4) << v % 8);
        put_bits(b, start + 4 + v % 16, (q & 15) << (v < 16 ? 0 : 4));
      });
      break;
    }
    case GgufType::kQ8_0:
    case GgufType::kQ8_1:
      put_half(b, 0, p.d);
      each([&](int v, int q) { put_bits(b, (type == GgufType::kQ8_0 ? 2 : 4) + v, q & 255); });
      break;
    case GgufType::kQ2_K:
      for (int r = 0; r < 16; ++r) put_bits(b, r, p.scale(r) | p.minimum(r) << 4);
      each([&](int v, int q) { put_bits(b, 16 + v / 128 * 32 + v % 32, q << v % 128 / 32 * 2); });
      put_half(b, 80, p.d);
      put_half(b, 82, p.m);
      break;
    case GgufType::kQ3_K:
      each([&](int v, int q) {
        put_bits(b, v % 32, (q >> 2) << v / 32);
        put_bits(b, 32 + v / 128 * 32 + v % 32, (q & 3) << v % 128 / 32 * 2);
      });
      for (int r = 0; r < 16; ++r) {
        put_bits(b, 96 + r % 8, (p.scale(r) & 15) << (r < 8 ? 0 : 4));
        put_bits(b, 104 + r % 4, (p.scale(r) >> 4) << r / 4 * 2);
      }
      put_half(b, 108, p.d);
      break;
    case GgufType::kQ4_K:
    case GgufType::kQ5_K: {
      put_half(b, 0, p.d);
      put_half(b, 2, p.m);
      for (int r = 0; r < 4; ++r) {
        const int s = p.scale(r + 4), n = p.minimum(r + 4);
        put_bits(b, 4 + r, p.scale(r) | (s >> 4) << 6);
        put_bits(b, 8 + r, p.minimum(r) | (n >> 4) << 6);
        put_bits(b, 12 + r, (s & 15) | (n & 15) << 4);
      }
      const bool five = type == GgufType::kQ5_K;
      each([&](int v, int q) {
        if (five) put_bits(b, 16 + v % 32, (q >> 4) << v / 32);
        put_bits(b, (five ? 48 : 16) + v / 64 * 32 + v % 32, (q & 15) << (v % 64 < 32 ? 0 : 4));
      });
      break;
    }
    case GgufType::kQ6_K:
      each([&](int v, int q) {
        put_bits(b, v / 128 * 64 + v % 64, (q & 15) << (v % 128 < 64 ? 0 : 4));
        put_bits(b, 128 + v / 128 * 32 + v % 32, (q >> 4) << v % 128 / 32 * 2);
      });
      for (int r = 0; r < 16; ++r) put_bits(b, 192 + r, p.scale(r) & 255);
      put_half(b, 208, p.d);
      break;
    case GgufType::kIQ4_XS:
      put_half(b, 0, p.d);
      for (int r = 0; r < 8; ++r) {
        put_bits(b, 2 + r / 4, (p.scale(r) >> 4) << r % 4 * 2);
        put_bits(b, 4 + r / 2, (p.scale(r) & 15) << (r % 2 == 0 ? 0 : 4));
      }
      each(
          [&](int v, int q) { put_bits(b, 8 + v / 32 * 16 + v % 16, q << (v % 32 < 16 ? 0 : 4)); });
      break;
    case GgufType::kTQ1_0: {
      // Numbers of five digits, the first the highest, over 243; four digits and a zero at the end.
      const auto put = [&](int at, const std::vector<int>& from) {
        int number = 0;
        for (const int v : from) number = 3 * number + (v < 256 ? p.q(v) : 0);
        put_bits(b, at, (number * 256 + 242) / 243);
      };
      for (int i = 0; i < 32; ++i) put(i, {i, i + 32, i + 64, i + 96, i + 128});
      for (int i = 160; i < 176; ++i) put(i - 128, {i, i + 16, i + 32, i + 48, i + 64});
      for (int i = 240; i < 244; ++i) put(i - 192, {i, i + 4, i + 8, i + 12, 256});
      put_half(b, 52, p.d);
      break;
    }
    case GgufType::kTQ2_0:
      each([&](int v, int q) { put_bits(b, v / 128 * 32 + v % 32, q << v % 128 / 32 * 2); });
      put_half(b, 64, p.d);
      break;
    case GgufType::kMXFP4:
      b[0] = static_cast<uint8_t>(p.d);
      each([&](int v, int q) { put_bits(b, 1 + v % 16, q << (v < 16 ? 0 : 4)); });
      break;
    default:
      ADD_FAILURE() << to_string(type);
  }
  return b;
}

// How many integers a value, a scale and a minimum have, beginning at `least`.
struct Ranges {
  int q, scale, minimum, least = 0, least_scale = 0;
};
Ranges ranges_of(GgufType type) {
  switch (type) {
    case GgufType::kQ5_0:
    case GgufType::kQ5_1:
      return {32, 1, 1};
    case GgufType::kQ8_0:
    case GgufType::kQ8_1:
      return {256, 1, 1, -128};
    case GgufType::kQ2_K:
      return {4, 16, 16};
    case GgufType::kQ3_K:
      return {8, 64, 1};
    case GgufType::kQ4_K:
      return {16, 64, 64};
    case GgufType::kQ5_K:
      return {32, 64, 64};
    case GgufType::kQ6_K:
      return {64, 256, 1, 0, -128};
    case GgufType::kIQ4_XS:
      return {16, 64, 1};
    case GgufType::kTQ1_0:
      return {3, 1, 1};
    case GgufType::kTQ2_0:
      return {4, 1, 1};
    default:
      return {16, 1, 1};
  }
}

constexpr float kTable[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                            1,    13,   25,  38,  53,  69,  89,  113};

float expected(GgufType type, const Parts& p, int v) {
  const auto q = static_cast<float>(p.q(v));
  const auto s = [&](int run, int middle) { return static_cast<float>(p.scale(v / run) - middle); };
  const auto n = [&](int run) { return static_cast<float>(p.minimum(v / run)); };
  const float d = float_from_half(p.d), m = float_from_half(p.m);
  switch (type) {
    case GgufType::kQ4_0:
      return d * (q - 8);
    case GgufType::kQ5_0:
      return d * (q - 16);
    case GgufType::kQ4_1:
    case GgufType::kQ5_1:
      return d * q + m;
    case GgufType::kQ8_0:
    case GgufType::kQ8_1:
      return d * q;
    case GgufType::kQ2_K:
      return d * s(16, 0) * q - m * n(16);
    case GgufType::kQ3_K:
      return d * s(16, 32) * (q - 4);
    case GgufType::kQ4_K:
    case GgufType::kQ5_K:
      return d * s(32, 0) * q - m * n(32);
    case GgufType::kQ6_K:
      return d * s(16, 0) * (q - 32);
    case GgufType::kIQ4_NL:
      return d * kTable[p.q(v)];
    case GgufType::kIQ4_XS:
      return d * s(32, 32) * kTable[p.q(v)];
    case GgufType::kTQ1_0:
    case GgufType::kTQ2_0:
      return d * (q - 1);
    case GgufType::kMXFP4: {
      // A sign, two bits of exponent, one of mantissa, times 2^(e - 127).
      const int magnitude = p.q(v) & 7, exponent = magnitude >> 1, mantissa = magnitude & 1;
      const double value =
          exponent == 0 ? 0.5 * mantissa : std::ldexp(1 + 0.5 * mantissa, exponent - 1);
      return static_cast<float>(std::ldexp(p.q(v) & 8 ? -value : value, p.d - 127));
    }
    default:
      return NAN;
  }
}

// Every integer of a value in some block, every scale and minimum, beside halves of both signs,
// subnormal and the largest: exactly equal.
TEST(GgufBlocks, EveryInteger) {
  const std::vector<uint16_t> halves = {0x3C00, 0xB555, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0};
  for (const GgufType type : kQuantized) {
    const Ranges ranges = ranges_of(type);
    int turn = 0;
    for (const uint16_t d : halves) {
      for (const uint16_t m : halves) {
        ++turn;
        const Parts parts{
            .d = type == GgufType::kMXFP4 ? static_cast<uint16_t>(4 * turn - 4) : d,
            .m = m,
            .q = [&](int v) { return ranges.least + (v * 7 + v / 32 + turn * 5) % ranges.q; },
            .scale = [&](int r) { return ranges.least_scale + (r * 5 + turn * 11) % ranges.scale; },
            .minimum = [&](int r) { return (r * 3 + turn * 7) % ranges.minimum; }};
        const std::vector<float> values = values_of(type, packed(type, parts));
        for (int v = 0; v < block_values(type); ++v) {
          ASSERT_EQ(values[static_cast<size_t>(v)], expected(type, parts, v))
              << to_string(type) << ", turn " << turn << ", value " << v;
        }
      }
    }
  }
}

// Blocks follow each other.
TEST(GgufBlocks, ARowOfBlocks) {
  for (const GgufType type : kQuantized) {
    Bytes row;
    std::vector<float> each;
    for (int i = 0; i < 3; ++i) {
      const Ranges ranges = ranges_of(type);
      const Parts parts{.d = static_cast<uint16_t>(100 + i),
                        .m = 0x3C00,
                        .q = [&](int v) { return ranges.least + (v + i) % ranges.q; },
                        .scale = [&](int) { return ranges.least_scale + i % ranges.scale; },
                        .minimum = [&](int) { return i % ranges.minimum; }};
      const Bytes block = packed(type, parts);
      row.insert(row.end(), block.begin(), block.end());
      const std::vector<float> values = values_of(type, block);
      each.insert(each.end(), values.begin(), values.end());
    }
    EXPECT_EQ(values_of(type, row), each) << to_string(type);
    EXPECT_EQ(row_bytes(type, 3 * block_values(type)), row.size());
    EXPECT_TRUE(values_of(type, {}).empty());
  }
}

TEST(GgufTypes, Names) {
  EXPECT_EQ(to_string(GgufType::kQ4_K), "Q4_K");
  EXPECT_EQ(to_string(GgufType::kMXFP4), "MXFP4");
  EXPECT_EQ(to_string(static_cast<GgufType>(16)), "IQ2_XXS");
  EXPECT_EQ(to_string(static_cast<GgufType>(42)), "Q2_0");
  EXPECT_EQ(to_string(static_cast<GgufType>(43)), "the type 43");
  EXPECT_EQ(to_string(static_cast<GgufType>(0xFFFFFFFF)), "the type 4294967295");
  int readable = 0;
  for (uint32_t number = 0; number < 100; ++number)
    readable += static_cast<int>(is_readable(static_cast<GgufType>(number)));
  EXPECT_EQ(static_cast<size_t>(readable), kQuantized.size() + 3);
  for (const GgufType type : kQuantized) EXPECT_TRUE(is_quantized(type));
  for (const GgufType type : {GgufType::kF32, GgufType::kF16, GgufType::kBF16})
    EXPECT_FALSE(is_quantized(type));
}

}  // namespace
}  // namespace watersic
