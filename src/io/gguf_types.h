// How a GGUF file holds the values of a tensor, by ggml's numbers and names.
#pragma once

#include <cstdint>
#include <string>

namespace watersic {

// The types that are read. Those below F16, but for BF16, are *quantized*: a row is cut into blocks
// of 32 or 256 values, and each block is some bytes of scales and small integers (gguf_blocks.h).
enum class GgufType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,  // the one of them that is written
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
};

// ggml's name of any number, "Q4_K"; "the type 77" for one that we have none for.
std::string to_string(GgufType type);
bool is_readable(GgufType type);
bool is_quantized(GgufType type);

// Of a block of a type that is read; 1 value where it is not quantized.
int64_t block_values(GgufType type);
uint64_t block_bytes(GgufType type);
// Of one row; `cols` is a multiple of block_values(type).
uint64_t row_bytes(GgufType type, int64_t cols);

}  // namespace watersic
