#include "coding/dec_side.h"

#include <fmt/format.h>

#include <cmath>

#include "coding/common_bitshift.h"
#include "coding/common_rans.h"
#include "coding/dec_sequence.h"

namespace watersic {
namespace {

Scales read_scales(BitReader& in, int64_t each, const char* what, const std::string& name) {
  Scales scales;
  const auto kind = in.bits(2);
  if (kind == 0) return scales;
  if (kind == 3) damaged(name, "unknown kind of scales");
  scales.exponent = static_cast<int32_t>(
      unzigzag(static_cast<uint64_t>(in.number(4, 1 << 10, "exponent of scales"))));
  const auto zeros = static_cast<int>(in.bits(4));
  const bool negative = in.bits(1) != 0;
  const int64_t count = kind == 1 ? 1 : each;
  for (const int64_t m : read_sequence(in, count, 0, 0x7FFF >> zeros, what, name))
    scales.half.push_back(static_cast<uint16_t>(m << zeros));
  if (negative) {
    for (uint16_t& h : scales.half) h = static_cast<uint16_t>(h | in.bits(1) << 15);
  }
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(scales.value(i))) damaged(name, "a scale is not finite");
  }
  return scales;
}

}  // namespace

QuantizedTensor read_side(BitReader& in, const std::string& name, int& version) {
  QuantizedTensor q;
  version = static_cast<int>(in.bits(8));
  if (version < 1 || (version > kTensorVersion && version != kBitshiftTensorVersion))
    throw Error(fmt::format("{}: expected version 1 to {} or {} of the coded tensor, found {}",
                            name, kTensorVersion, kBitshiftTensorVersion, version));
  q.rows = in.number(8, INT32_MAX, "rows");
  q.cols = in.number(8, INT32_MAX, "columns");
  if (q.cols > 0 && q.rows > kMaxWeights / q.cols)
    damaged(name, fmt::format("expected at most 2^32 weights, found {} x {}", q.rows, q.cols));
  const auto states = in.bits(4);
  if (states == 1 || states > 8) damaged(name, "unknown trellis");
  q.trellis = states == 0 ? 0 : 1 << states;
  if (in.bits(1) != 0) {
    q.rotation = static_cast<uint32_t>(in.bits(32));
    if (q.rotation == 0) damaged(name, "a rotation without a seed");
  }
  if (version > 1) q.strands = 1 + in.number(0, INT32_MAX - 1, "strands");
  if (q.rows % q.strands != 0) damaged(name, "its strands are not of one length");
  const int64_t dead = in.number(0, q.cols, "dead columns");
  int64_t next = 0;
  for (const int64_t gap : read_sequence(in, dead, 0, q.cols, "gaps of dead columns", name)) {
    next += gap;
    if (next >= q.cols) damaged(name, "a dead column lies outside the matrix");
    q.dead.push_back(static_cast<int32_t>(next++));
  }
  q.groups = in.number(0, INT32_MAX, "groups");
  if (q.groups > 0) {
    if (q.rows > kMaxWeights / q.groups) damaged(name, "too many groups");
    int64_t group = 0;
    for (const int64_t step :
         read_sequence(in, q.live(), -q.groups, q.groups, "groups of columns", name)) {
      group += step;
      if (group < 0 || group >= q.groups) damaged(name, "a column's group is out of range");
      q.column_group.push_back(static_cast<int32_t>(group));
    }
  }
  q.row_scale = read_scales(in, q.rows, "row scales", name);
  q.column_scale = read_scales(in, q.live(), "column scales", name);
  q.group_scale = read_scales(in, q.rows * q.groups, "group scales", name);
  if (q.group_scale.half.empty() != (q.groups == 0))
    damaged(name, "groups without scales or scales without groups");
  return q;
}

}  // namespace watersic
