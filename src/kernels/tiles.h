// What all products with integers go by: tiles of 64 rows, whose sums are kept for up to 64 tokens.
#pragma once

#include <cstdint>

namespace watersic {

constexpr int64_t kTileRows = 64;
constexpr int64_t kTileUnits = 8;   // vectors of eight rows
constexpr int64_t kUnitBytes = 32;  // eight rows x four bytes, or x two integers of 16 bits

// Tokens that a product takes at once, so that each block is unpacked once for all of them.
constexpr int64_t kProductTokens = 64;

constexpr int64_t kBlockQuads = 16;  // of four columns, whose inputs share a scale

// How a product takes its inputs: rounded to integers with a scale for each block, as they are
// fastest, or as floats.
enum class InputPrecision { kInt8, kFloat };

}  // namespace watersic
