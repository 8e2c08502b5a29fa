#include "coding/enc_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "coding/common_rans.h"
#include "coding/enc_sequence.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// How many halves: none, one for all, or one for each; then the halves without the zeros that all
// of them end with, as a rounder leaves them.
void write_scales(HeadWriter& out, const Scales& scales, int64_t each, const char* what) {
  const auto n = static_cast<int64_t>(scales.half.size());
  assert(n == 0 || n == 1 || n == each);
  static_cast<void>(each);
  out.bits(n == 0 ? 0 : n == 1 ? 1 : 2, 2);
  if (n == 0) return;
  out.exp_golomb(zigzag(scales.exponent), 4);
  unsigned all = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(scales.value(i)))
      throw Error(
          fmt::format("{}: expected finite numbers, found {} at {}", what, scales.value(i), i));
    all |= scales.half[static_cast<size_t>(i)];
  }
  const int zeros = std::countr_zero((all & 0x7FFF) | 0x8000);
  const bool negative = (all & 0x8000) != 0;
  out.bits(static_cast<uint64_t>(zeros), 4);
  out.bits(negative ? 1 : 0, 1);
  std::vector<int64_t> magnitudes;
  magnitudes.reserve(scales.half.size());
  for (const uint16_t h : scales.half) magnitudes.push_back((h & 0x7FFF) >> zeros);
  write_sequence(out, magnitudes);
  if (!negative) return;
  for (const uint16_t h : scales.half) out.bits(h >> 15, 1);
}

}  // namespace

void write_side(HeadWriter& out, const QuantizedTensor& q, int version) {
  out.bits(static_cast<uint64_t>(version), 8);
  out.exp_golomb(static_cast<uint64_t>(q.rows), 8);
  out.exp_golomb(static_cast<uint64_t>(q.cols), 8);
  out.bits(q.trellis == 0
               ? 0
               : static_cast<uint64_t>(std::countr_zero(static_cast<unsigned>(q.trellis))),
           4);
  out.bits(q.rotation == 0 ? 0 : 1, 1);
  if (q.rotation != 0) out.bits(q.rotation, 32);
  assert(q.strands > 0 && q.rows % q.strands == 0);
  out.exp_golomb(static_cast<uint64_t>(q.strands - 1), 0);
  out.exp_golomb(q.dead.size(), 0);
  std::vector<int64_t> gaps;
  int64_t next = 0;
  for (const int32_t d : q.dead) {
    assert(d >= next && d < q.cols);
    gaps.push_back(d - next);
    next = int64_t{d} + 1;
  }
  write_sequence(out, gaps);
  out.exp_golomb(static_cast<uint64_t>(q.groups), 0);
  if (q.groups > 0) {
    assert(static_cast<int64_t>(q.column_group.size()) == q.live());
    std::vector<int64_t> steps;
    int64_t last = 0;
    for (const int32_t g : q.column_group) {
      assert(g >= 0 && g < q.groups);
      steps.push_back(g - last);
      last = g;
    }
    write_sequence(out, steps);
  }
  write_scales(out, q.row_scale, q.rows, "row scales");
  write_scales(out, q.column_scale, q.live(), "column scales");
  write_scales(out, q.group_scale, q.rows * q.groups, "group scales");
}

}  // namespace watersic
