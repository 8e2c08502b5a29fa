#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_inputs.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <cstring>
#include <utility>

#include "kernels/packed_inputs.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

float ScaledColumns(const PackedMatrix& M, const float* x, const PackedBlock& block, float* z) {
  return Scaled(x, M.source.data() + block.column, M.scale.data() + block.column, block.columns(),
                z);
}

void QuantizeInputs(const PackedMatrix& M, const float* x, int64_t token, QuantizedInputs& out) {
  const DI di;
  float z[4 * kBlockQuads];
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    const int64_t count = block.columns();
    const float scale = ScaledColumns(M, x, block, z) / static_cast<float>(block.limit());
    const int32_t* base = M.base.data() + block.column;
    uint8_t* q = out.at(block, token);
    auto offset = hn::Zero(di);
    const auto round = [&](const auto& store) {
      Rounded(scale, block.limit(), count, z, [&](int64_t v, auto rounded) {
        offset = hn::Add(offset, hn::Mul(rounded, hn::LoadU(di, base + v)));
        store(v, rounded);
      });
    };
    if (block.wide) {
      int16_t q16[4 * kBlockQuads];
      round([&](int64_t v, auto rounded) { Store16(rounded, q16 + v); });
      for (int64_t v = 0; v < count; v += 4) std::swap(q16[v + 1], q16[v + 2]);
      std::memcpy(q, q16, static_cast<size_t>(block.input_bytes()));
    } else {
      int8_t q8[4 * kBlockQuads];
      const hn::Rebind<int8_t, D> d8;
      round([&](int64_t v, auto rounded) { hn::StoreU(hn::DemoteTo(d8, rounded), d8, q8 + v); });
      std::memcpy(q, q8, static_cast<size_t>(block.input_bytes()));
    }
    const auto row = static_cast<int64_t>(b);
    out.scale(row, token) = scale;
    out.offset(row, token) = hn::GetLane(hn::SumOfLanes(di, offset));
  }
}

void ScaleInputs(const PackedMatrix& M, const float* x, float* z, float* offsets) {
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    const int64_t count = block.columns();
    ScaledColumns(M, x, block, z + block.column);
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

void quantize_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token,
                     QuantizedInputs& out) {
  HWY_DYNAMIC_DISPATCH(QuantizeInputs)(M, x.data(), token, out);
}

void scale_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token,
                  FloatInputs& out) {
  HWY_DYNAMIC_DISPATCH(ScaleInputs)
  (M, x.data(), out.z.row(token).data(), out.offset.row(token).data());
}

}  // namespace watersic
#endif
