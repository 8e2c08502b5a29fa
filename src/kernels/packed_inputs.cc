#include "kernels/packed_inputs.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_inputs.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

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

// q := z / scale to the nearest integers; what is left goes back to z. Returns sum base * q.
int32_t Rounded(float scale, int32_t limit, const int32_t* base, int64_t count, float* z,
                int8_t* q) {
  const D d;
  const DI di;
  const auto inverse = hn::Set(d, scale > 0 ? 1 / scale : 0.0F), step = hn::Set(d, scale);
  const auto most = hn::Set(di, limit), least = hn::Set(di, -limit);
  auto sum = hn::Zero(di);
  for (int64_t v = 0; v < count; v += static_cast<int64_t>(hn::Lanes(d))) {
    const auto value = hn::LoadU(d, z + v);
    const auto rounded = hn::Min(most, hn::Max(least, hn::NearestInt(hn::Mul(value, inverse))));
    hn::StoreU(hn::Sub(value, hn::Mul(hn::ConvertTo(d, rounded), step)), d, z + v);
    sum = hn::Add(sum, hn::Mul(rounded, hn::LoadU(di, base + v)));
    const hn::Rebind<int8_t, D> d8;
    hn::StoreU(hn::DemoteTo(d8, rounded), d8, q + v);
  }
  return hn::GetLane(hn::SumOfLanes(di, sum));
}

void QuantizeInputs(const PackedMatrix& M, const float* x, int8_t* q, float* scales,
                    int32_t* offsets) {
  float z[4 * kBlockQuads];
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    const int64_t count = 4 * int64_t{block.quads};
    const auto limit = static_cast<float>(block.limit);
    scales[b] =
        block.part > 0 ? scales[b - 1] / (2 * limit) : Scaled(M, x, block.column, count, z) / limit;
    offsets[b] =
        Rounded(scales[b], block.limit, M.base.data() + block.column, count, z, q + block.input);
  }
}

void ScaleInputs(const PackedMatrix& M, const float* x, float* z, float* offsets) {
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    offsets[b] = 0;
    if (block.part > 0) continue;
    const int64_t count = 4 * int64_t{block.quads};
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
      q(count, M.quantized_inputs),
      scale(count, static_cast<int64_t>(M.blocks.size())),
      offset(count, static_cast<int64_t>(M.blocks.size())) {}

void quantize_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token,
                     QuantizedInputs& out) {
  HWY_DYNAMIC_DISPATCH(QuantizeInputs)
  (M, x.data(), out.q.row(token).data(), out.scale.row(token).data(), out.offset.row(token).data());
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
