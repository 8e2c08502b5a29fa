// How a model is held in memory while it runs.
#pragma once

#include <array>
#include <cstdint>

#include "watersic/names.h"

namespace watersic {

enum class WeightFormat {
  kPacked,  // integers as narrow as they fit, of a .wsic file, times inputs in 8 bits; 16 bits
            // where the file has them
  kExact,    // the same weights times inputs as they are: kFloat32's numbers, to rounding
  kFloat32,  // what evaluations are defined by
};

template <>
inline constexpr std::array names_of<WeightFormat>{"packed", "exact", "float32"};

// Keys and values of the tokens so far. kInt8: with a scale for each head of a token.
enum class CacheType { kFloat16, kFloat32, kInt8 };
template <>
inline constexpr std::array names_of<CacheType>{"16", "32", "8"};

// Bytes.
struct MemoryUse {
  int64_t weights = 0;
  int64_t cache = 0;    // of one sequence at its full length
  int64_t scratch = 0;  // activations, at most
  int64_t machine = 0;  // what there is; 0 where the system does not tell

  int64_t total() const { return weights + cache + scratch; }
};

}  // namespace watersic
