// Which integers of a histogram get symbols, and which are escaped.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "coding/enc_histogram.h"
#include "coding/enc_table.h"

namespace watersic {

// The histogram seen through a window of values: what is outside is escaped.
struct Window {
  int64_t base = 0;
  std::vector<int64_t> counts;  // of base, base + 1, ...
  int64_t escapes[2] = {0, 0};  // even and odd ones
  int64_t total = 0;
  EscapeBits escape_bits{};  // of their values

  bool escape() const { return escapes[0] + escapes[1] > 0; }
  int64_t cheapest_escapes() const {
    return escape() ? *std::min_element(escape_bits.begin(), escape_bits.end()) : 0;
  }
};

// `count` escapes of this value.
void add_escapes(EscapeBits& bits, uint64_t code, int64_t count);

// Windows that leave more and more of the tails out. The first holds all if it can.
std::vector<Window> make_windows(const Histogram& histogram);

}  // namespace watersic
