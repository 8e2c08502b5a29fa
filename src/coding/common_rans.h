// The entropy coder that encoder and decoder share: rANS with 32-bit states (Duda 2013),
// renormalised by 16-bit words. A state x lies in [2^16, 2^32). With a table of precision P in
// which the symbol s owns the slots [start, start + f) of 2^P:
//
//   decode: slot = x mod 2^P;  s owns slot;  x = f * (x >> P) + slot - start;
//           if x < 2^16: x = x << 16 | next word
//   encode: if x >= f << (32 - P): emit x mod 2^16; x >>= 16
//           x = ((x / f) << P) + x mod f + start
//
// As P <= 15, x >> P is at least 2, so that one word always brings x back: no loop. The encoder
// runs backwards from kLowerBound in every lane, so every lane of the decoder must end there: a
// check that costs nothing more.
#pragma once

#include <cstdint>

namespace watersic {

inline constexpr uint32_t kLowerBound = 1U << 16;
inline constexpr int kMinPrecision = 8;
inline constexpr int kMaxPrecision = 15;
inline constexpr int kMaxLanes = 64;
inline constexpr int64_t kMaxTables = 1024;

// A blob of another version is refused.
inline constexpr int kTensorVersion = 2;

// Bounds that keep a lying header from making the decoder allocate: a tile costs at least a word,
// so a blob of n bytes decodes to at most n/4 * 2^20 integers.
inline constexpr int64_t kMaxTileWeights = int64_t{1} << 20;
inline constexpr int64_t kMaxWeights = int64_t{1} << 32;

// Signed numbers as unsigned ones, small magnitudes first: 0, -1, 1, -2, 2, ...
inline uint64_t zigzag(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}
inline int64_t unzigzag(uint64_t u) {
  return static_cast<int64_t>(u >> 1) ^ -static_cast<int64_t>(u & 1);
}

}  // namespace watersic
