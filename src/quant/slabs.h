// Rows some at a time: what is made of a tall layer on the way to its integers need not be there
// whole.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace watersic {

// Rows after which a trellis starts anew: equal parts of about 4096. A start costs 2.2 / rows bits
// a weight with 64 states (1.2 with 8).
inline int64_t segment_rows(int64_t rows) {
  constexpr int64_t kSegment = 4096;
  const int64_t parts = std::max<int64_t>(1, (rows + kSegment / 2) / kSegment);
  return std::max<int64_t>(1, (rows + parts - 1) / parts);
}

// Rows of a slab in float32: eight segments, so that there is work for some threads. Up to about
// 32768 rows, and all layers but embeddings and heads have no more, that is all of them.
inline int64_t slab_rows(int64_t rows) { return 8 * segment_rows(rows); }

// Rows of a slab in float64: a multiple of the tiles into which linalg cuts rows, so that products
// and sums are those of all rows at once.
constexpr int64_t kWideRows = 2048;

inline std::vector<int64_t> all_rows(int64_t rows) {
  std::vector<int64_t> all(static_cast<size_t>(rows));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Calls body(the slab's rows, where they begin) for so many rows at a time.
template <class Body>
void over_slabs(std::span<const int64_t> rows, int64_t slab, const Body& body) {
  for (size_t at = 0; at < rows.size(); at += static_cast<size_t>(slab))
    body(rows.subspan(at, std::min(static_cast<size_t>(slab), rows.size() - at)),
         static_cast<int64_t>(at));
}

}  // namespace watersic
