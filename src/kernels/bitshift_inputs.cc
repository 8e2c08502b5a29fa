#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/bitshift_inputs.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <cstring>

#include "kernels/bitshift_inputs.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void QuantizeInputs(const BitshiftMatrix& M, const float* x, int64_t token, QuantizedInputs& out) {
  const DI di;
  float z[kBitshiftColumns];
  int16_t q[kBitshiftColumns];
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const BitshiftBlock& block = M.blocks[b];
    const int64_t count = block.padded();
    const float largest =
        Scaled(x, M.source.data() + block.column, M.scale.data() + block.column, count, z);
    const float scale = largest / static_cast<float>(kBitshiftInputLimit);
    auto sum = hn::Zero(di);
    Rounded(scale, kBitshiftInputLimit, count, z, [&](int64_t v, auto rounded) {
      sum = hn::Add(sum, rounded);
      Store16(rounded, q + v);
    });
    std::memcpy(out.at(block, token), q, static_cast<size_t>(block.input_bytes()));
    const auto row = static_cast<int64_t>(b);
    out.scale(row, token) = scale;
    out.offset(row, token) = -kMiddleCode * hn::GetLane(hn::SumOfLanes(di, sum));
  }
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(QuantizeInputs);

void quantize_inputs(const BitshiftMatrix& M, std::span<const float> x, int64_t token,
                     QuantizedInputs& out) {
  HWY_DYNAMIC_DISPATCH(QuantizeInputs)(M, x.data(), token, out);
}

void scale_inputs(const BitshiftMatrix& M, std::span<const float> x, int64_t token,
                  FloatInputs& out) {
  for (size_t v = 0; v < M.source.size(); ++v)
    out.z(token, static_cast<int64_t>(v)) = x[static_cast<size_t>(M.source[v])] * M.scale[v];
}

}  // namespace watersic
#endif
