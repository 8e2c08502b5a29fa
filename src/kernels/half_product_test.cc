#include "kernels/half_product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/half.h"
#include "base/rng.h"
#include "support/targets.h"

namespace watersic {
namespace {

TEST(HalfProduct, EveryTargetAndShape) {
  Rng rng(1);
  for (const HalfKind kind : {HalfKind::kHalf, HalfKind::kBf16}) {
    for (const size_t rows : {0, 1, 3, 4, 9}) {
      for (const size_t n : {1, 2, 7, 8, 16, 33, 256}) {
        std::vector<float> x, values;
        std::vector<uint16_t> W;
        for (size_t j = 0; j < n; ++j) x.push_back(static_cast<float>(rng.normal()));
        for (size_t i = 0; i < rows * n; ++i) {
          const auto w = static_cast<float>(rng.normal() * std::exp2(4 * rng.normal()));
          W.push_back(kind == HalfKind::kBf16 ? bf16_from_float(w) : half_from_float(w));
          values.push_back(kind == HalfKind::kBf16 ? float_from_bf16(W.back())
                                                   : float_from_half(W.back()));
        }
        std::vector<float> expected(rows), found(rows), widened(rows * n);
        half_product_scalar(kind, W, x, expected);
        for_each_target([&] {
          half_product(kind, W, x, found);
          for (size_t r = 0; r < rows; ++r) {
            double terms = 0;
            for (size_t j = 0; j < n; ++j) terms += std::abs(values[r * n + j] * x[j]);
            EXPECT_NEAR(found[r], expected[r], 1e-6 * terms) << rows << " x " << n;
          }
          widen(kind, W, widened);
          EXPECT_EQ(widened, values);
        });
      }
    }
  }
}

}  // namespace
}  // namespace watersic
