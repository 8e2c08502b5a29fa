#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_inputs.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <cstring>
#include <utility>

#include "kernels/packed_inputs.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Packed columns come in fours, which vectors of four floats divide, whatever the target.
using D = hn::CappedTag<float, 4>;
using DI = hn::RebindToSigned<D>;

// z := the inputs of `count` packed columns, from `column` on; the largest magnitude.
float Scaled(const PackedMatrix& M, const float* x, int64_t column, int64_t count, float* z) {
  const int32_t* source = M.source.data() + column;
  const float* scale = M.scale.data() + column;
  for (int64_t v = 0; v < count; ++v) z[v] = x[source[v]] * scale[v];
  const D d;
  auto largest = hn::Zero(d);
  for (int64_t v = 0; v < count; v += static_cast<int64_t>(hn::Lanes(d)))
    largest = hn::Max(largest, hn::Abs(hn::LoadU(d, z + v)));
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// The nearest integers of z / scale, four at a time: write(v, the four from v on). Returns
// sum base * integer.
template <class Write>
HWY_INLINE int32_t Rounded(float scale, int32_t limit, const int32_t* base, int64_t count,
                           const float* z, const Write& write) {
  const D d;
  const DI di;
  const auto inverse = hn::Set(d, scale > 0 ? 1 / scale : 0.0F);
  const auto most = hn::Set(di, limit), least = hn::Set(di, -limit);
  auto sum = hn::Zero(di);
  for (int64_t v = 0; v < count; v += static_cast<int64_t>(hn::Lanes(d))) {
    const auto nearest = hn::NearestInt(hn::Mul(hn::LoadU(d, z + v), inverse));
    const auto rounded = hn::Min(most, hn::Max(least, nearest));
    sum = hn::Add(sum, hn::Mul(rounded, hn::LoadU(di, base + v)));
    write(v, rounded);
  }
  return hn::GetLane(hn::SumOfLanes(di, sum));
}

void QuantizeInputs(const PackedMatrix& M, const float* x, int64_t token, QuantizedInputs& out) {
  float z[4 * kBlockQuads];
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    const int64_t count = block.columns();
    const float scale = Scaled(M, x, block.column, count, z) / static_cast<float>(block.limit());
    const int32_t* base = M.base.data() + block.column;
    uint8_t* q = out.at(block, token);
    const auto row = static_cast<int64_t>(b);
    out.scale(row, token) = scale;
    if (block.wide) {
      int16_t q16[4 * kBlockQuads];
      out.offset(row, token) =
          Rounded(scale, block.limit(), base, count, z, [&](int64_t v, auto rounded) {
            hn::StoreU(hn::DemoteTo(hn::Rebind<int16_t, D>(), rounded), hn::Rebind<int16_t, D>(),
                       q16 + v);
          });
      for (int64_t v = 0; v < count; v += 4) std::swap(q16[v + 1], q16[v + 2]);
      std::memcpy(q, q16, static_cast<size_t>(block.input_bytes()));
    } else {
      int8_t q8[4 * kBlockQuads];
      out.offset(
          row, token) = Rounded(scale, block.limit(), base, count, z, [&](int64_t v, auto rounded) {
        hn::StoreU(hn::DemoteTo(hn::Rebind<int8_t, D>(), rounded), hn::Rebind<int8_t, D>(), q8 + v);
      });
      std::memcpy(q, q8, static_cast<size_t>(block.input_bytes()));
    }
  }
}

void ScaleInputs(const PackedMatrix& M, const float* x, float* z, float* offsets) {
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    const int64_t count = block.columns();
    Scaled(M, x, block.column, count, z + block.column);
    float sum = 0;
    for (int64_t v = block.column; v < block.column + count; ++v)
      sum += static_cast<float>(M.base[static_cast<size_t>(v)]) * z[v];
    offsets[b] = sum;
  }
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(QuantizeInputs);
HWY_EXPORT(ScaleInputs);

QuantizedInputs::QuantizedInputs(const PackedMatrix& M, int64_t count)
    : tokens(count),
      q(static_cast<size_t>(count * M.input_bytes)),
      scale(static_cast<int64_t>(M.blocks.size()), count),
      offset(static_cast<int64_t>(M.blocks.size()), count) {}

void quantize_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token,
                     QuantizedInputs& out) {
  HWY_DYNAMIC_DISPATCH(QuantizeInputs)(M, x.data(), token, out);
}

FloatInputs::FloatInputs(const PackedMatrix& M, int64_t count)
    : tokens(count),
      z(count, static_cast<int64_t>(M.source.size())),
      offset(count, static_cast<int64_t>(M.blocks.size())) {}

void scale_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token,
                  FloatInputs& out) {
  HWY_DYNAMIC_DISPATCH(ScaleInputs)
  (M, x.data(), out.z.row(token).data(), out.offset.row(token).data());
}

}  // namespace watersic
#endif
