#include "encode/encode_layer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "base/rng.h"
#include "base/rotation.h"
#include "coding/dec_tensor.h"
#include "linalg/blas.h"
#include "quant/distortion.h"
#include "quant/families.h"
#include "quant/layer.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr double kTolerance = 0.004;  // 12 bytes of the layers here

class EncodeLayer : public testing::Test {
 protected:
  LayerData layer(const std::string& family, int64_t rows = 256, int64_t cols = 96) {
    return make_layer(pool_, family, rows, cols, 1);
  }
  EncodedLayer encode(const LayerData& data, const QuantizerOptions& options,
                      const StoredSize& stored_size = {}) {
    return encode_layer(pool_, {data.W, data.S}, options, stored_size);
  }
  std::string error_of(const LayerData& data, const QuantizerOptions& options) {
    try {
      encode(data, options);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  }

  ThreadPool pool_{2};
};

TEST_F(EncodeLayer, SpendsTheBitsAskedFor) {
  for (const std::string& family : layer_families()) {
    const LayerData data = layer(family);
    for (const double bits : {1.0, 1.5, 2.0, 3.0, 4.0, 8.0}) {
      const EncodedLayer out = encode(data, {.bits = bits});
      EXPECT_NEAR(out.bits.file, bits, kTolerance) << family;
      EXPECT_DOUBLE_EQ(out.bits.file, 8.0 * static_cast<double>(out.bytes.size()) /
                                          static_cast<double>(data.W.size()));
      EXPECT_DOUBLE_EQ(out.bits.file, out.bits.coded + out.bits.side);
    }
  }
}

TEST_F(EncodeLayer, TheRunnableLayoutSpendsThemByConstruction) {
  for (const std::string& family : layer_families()) {
    for (const int64_t rows : {256, 100}) {
      const LayerData data = layer(family, rows);
      for (const double bits : {1.0, 1.5, 2.0, 3.0, 4.0, 6.0}) {
        const EncodedLayer out =
            encode(data, {.bits = bits, .layout = Layout::kRunnable, .state_bits = 8});
        // A quarter of a bit of a column.
        EXPECT_LT(out.bits.file, bits + 0.01) << family << rows;
        EXPECT_GT(out.bits.file, bits - 0.03) << family << rows;
        EXPECT_DOUBLE_EQ(out.bits.file, out.bits.coded + out.bits.side);
        const Matrix<float> V = dequantize(decode_tensor(out.bytes, pool_, "test"));
        EXPECT_EQ(out.distortion, distortion(pool_, {data.W, data.S}, V));
      }
    }
  }
}

// Against the entropy-coded layout at the same size; with few bits of state it must stay behind.
TEST_F(EncodeLayer, TheRunnableLayoutIsNearTheOther) {
  for (const char* family : {"white", "powerlaw", "ar1"}) {
    const LayerData data = layer(family, 512);
    for (const double bits : {1.5, 3.0}) {
      const double behind =
          0.5 *
          std::log2(encode(data, {.bits = bits, .layout = Layout::kRunnable, .state_bits = 12})
                        .distortion /
                    encode(data, {.bits = bits}).distortion);
      EXPECT_LT(behind, 0.25) << family << bits;
      EXPECT_GT(behind, 0) << family << bits;
    }
  }
}

// Rows of unlike width and a metric of the outputs: the order is told, groups mend each other, a
// row of zeros stays one. The same bytes on any number of threads.
TEST_F(EncodeLayer, TheRunnableLayoutSortsRows) {
  LayerData data = layer("powerlaw", 320);
  for (int64_t k = 0; k < 320; ++k)
    for (float& w : data.W.row(k)) w *= k == 7 ? 0.0F : std::exp2(static_cast<float>(k % 5));
  Matrix<double> G(320, 320);
  for (int64_t i = 0; i < 320; ++i)
    for (int64_t j = 0; j < 320; ++j) G(i, j) = (i == j ? 1.0 : 0.0) + (i % 8 == j % 8 ? 0.5 : 0.0);
  const QuantizerOptions options{.bits = 2, .layout = Layout::kRunnable, .state_bits = 10};
  const LayerProblem problem{.W = data.W, .S = data.S, .output_metric = G};
  const EncodedLayer out = encode_layer(pool_, problem, options);
  EXPECT_FALSE(out.tensor.bitshift.row_order.empty());
  EXPECT_LT(out.distortion, 0.15 * signal(pool_, data.W, data.S));
  // Without the metric the plain distortion is less, the weighted one more.
  const EncodedLayer plain = encode_layer(pool_, {.W = data.W, .S = data.S}, options);
  EXPECT_LT(out.weighted_distortion,
            distortions(pool_, problem, dequantize(plain.tensor)).weighted);
  EXPECT_LT(plain.distortion, out.distortion);
  const Matrix<float> V = dequantize(plain.tensor);
  for (const float v : V.row(7)) EXPECT_EQ(v, 0);
  ThreadPool one(1);
  EXPECT_EQ(encode_layer(one, problem, options).bytes, out.bytes);
}

TEST_F(EncodeLayer, TheOtherEntropyCodedMethodsDoToo) {
  const LayerData data = layer("powerlaw");
  for (const Method method : {Method::kHuffmanGptq, Method::kHuffmanRtn})
    for (const double bits : {1.0, 2.5, 8.0})
      EXPECT_NEAR(encode(data, {.method = method, .bits = bits}).bits.file, bits, kTolerance)
          << name_of(method);
}

TEST_F(EncodeLayer, CountsWhatIsStoredAround) {
  const LayerData data = layer("ar1");
  const auto stored_size = [](size_t coded) { return coded + 1000; };
  const EncodedLayer out = encode(data, {.bits = 3}, stored_size);
  EXPECT_NEAR(out.bits.file, 3, kTolerance);
  EXPECT_DOUBLE_EQ(out.bits.file, 8.0 * static_cast<double>(out.bytes.size() + 1000) /
                                      static_cast<double>(data.W.size()));
}

TEST_F(EncodeLayer, ThePapersCountIsATargetToo) {
  const LayerData data = layer("hard");
  const EncodedLayer out = encode(data, {.bits = 2.5, .rate = RateTarget::kPaper});
  EXPECT_NEAR(out.bits.paper_rate, 2.5, kTolerance);
  const double weights = static_cast<double>(data.W.size());
  EXPECT_NEAR(out.bits.paper_rate, out.bits.pooled_entropy + 16.0 * (256 + 96) / weights, 1e-12);
}

TEST_F(EncodeLayer, MoreBitsLessDistortion) {
  const LayerData data = layer("powerlaw");
  double before = std::numeric_limits<double>::infinity();
  for (const double bits : {0.8, 1.0, 2.0, 4.0, 8.0, 12.0}) {
    const double distortion = encode(data, {.bits = bits}).distortion;
    EXPECT_LT(distortion, before) << bits;
    before = distortion;
  }
}

TEST_F(EncodeLayer, TheBytesDecodeToWhatIsReported) {
  const LayerData data = layer("hard");
  for (const Method method : {Method::kWatersic, Method::kHuffmanGptq, Method::kHuffmanRtn,
                              Method::kGptq, Method::kRtn}) {
    for (const int64_t group : {0, 32}) {
      QuantizerOptions options{.method = method, .bits = 3};
      const bool grid = method == Method::kGptq || method == Method::kRtn;
      if (!grid && group > 0) continue;
      options.group_size = group;
      const EncodedLayer out = encode(data, options);
      const Matrix<float> V = dequantize(decode_tensor(out.bytes, pool_, "test"));
      EXPECT_EQ(out.distortion, distortion(pool_, {data.W, data.S}, V)) << name_of(method);
      EXPECT_GT(out.distortion, 0);
      const Matrix<float> nothing(V.rows(), V.cols());
      EXPECT_LT(out.distortion, 0.5 * distortion(pool_, {data.W, data.S}, nothing))
          << name_of(method);
      for (const int32_t j : out.tensor.dead)
        for (int64_t k = 0; k < V.rows(); ++k) EXPECT_EQ(V(k, j), 0);
      EXPECT_EQ(out.tensor.dead.size(), method == Method::kWatersic ? 12U : 0U);
    }
  }
}

TEST_F(EncodeLayer, TheGridSpendsLessThanItsWidth) {
  const LayerData data = layer("white");
  for (const Method method : {Method::kGptq, Method::kRtn}) {
    const EncodedLayer out = encode(data, {.method = method, .bits = 4});
    EXPECT_LT(out.bits.coded, 4.05) << name_of(method);
    EXPECT_EQ(out.step, 0);
    for (const int32_t z : out.tensor.codes.values()) {
      ASSERT_GE(z, -8);
      ASSERT_LE(z, 7);
    }
  }
}

TEST_F(EncodeLayer, OptionsChangeWhatTheySay) {
  const LayerData data = layer("hard");
  // At equal entropy of the integers: row scales themselves cost something.
  const auto paper = [&](bool rescalers, bool lmmse) {
    return encode(data, {.bits = 2,
                         .rate = RateTarget::kPaper,
                         .rescalers = rescalers,
                         .lmmse = lmmse,
                         .shrinkage = 0})
        .distortion;
  };
  EXPECT_LT(paper(true, true), paper(false, true));
  EXPECT_LT(paper(false, true), paper(false, false));
  EXPECT_NE(encode(data, {.bits = 2, .damping = 0.01}).damping,
            encode(data, {.bits = 2, .damping = 0.1}).damping);
  EXPECT_EQ(encode(data, {.bits = 2, .damping = 0.01, .dead_threshold = 0}).tensor.dead.size(), 0U);
  const QuantizerOptions gptq{.method = Method::kGptq, .bits = 3};
  QuantizerOptions ordered = gptq, grouped = gptq;
  ordered.activation_order = true;
  grouped.group_size = 16;
  EXPECT_NE(encode(data, ordered).distortion, encode(data, gptq).distortion);
  EXPECT_LT(encode(data, grouped).distortion, encode(data, gptq).distortion);
}

// Theory: WaterSIC depends on S through its determinant alone, GPTQ through the spread of the
// l_ii^2.
TEST_F(EncodeLayer, WatersicIsBlindToRotationsAndGptqIsNot) {
  const LayerData native = layer("lognormal_diag", 256, 96);
  LayerData rotated = native;
  const RandomRotation rotation(96, 3);
  for (int64_t k = 0; k < 256; ++k) rotation.apply(rotated.W.row(k));
  for (int side = 0; side < 2; ++side) {
    for (int64_t i = 0; i < 96; ++i) rotation.apply(rotated.S.row(i));
    for (int64_t i = 0; i < 96; ++i)
      for (int64_t j = 0; j < i; ++j) std::swap(rotated.S(i, j), rotated.S(j, i));
  }
  const auto in_bits = [&](const LayerData& data, Method method) {
    const EncodedLayer out = encode(data, {.method = method, .bits = 4});
    return out.bits.coded + 0.5 * std::log2(out.distortion);
  };
  const double watersic = in_bits(rotated, Method::kWatersic) - in_bits(native, Method::kWatersic);
  const double gptq =
      in_bits(rotated, Method::kHuffmanGptq) - in_bits(native, Method::kHuffmanGptq);
  EXPECT_LT(std::fabs(watersic), 0.03);
  EXPECT_LT(gptq, -0.15);  // a rotation evens the l_ii out
}

TEST_F(EncodeLayer, TheSameBytesAtAnyNumberOfThreads) {
  const LayerData data = layer("ar1", 700, 96);
  ThreadPool one(1), three(3);
  for (const Method method : {Method::kWatersic, Method::kHuffmanGptq, Method::kGptq}) {
    const QuantizerOptions options{.method = method, .bits = 2};
    const EncodedLayer a = encode_layer(one, {data.W, data.S}, options),
                       b = encode_layer(three, {data.W, data.S}, options);
    EXPECT_EQ(a.bytes, b.bytes) << name_of(method);
    EXPECT_EQ(a.distortion, b.distortion) << name_of(method);
  }
}

TEST_F(EncodeLayer, BelowTheSideInformationTheMinimumIsNamed) {
  const LayerData data = layer("white", 64, 32);
  const double minimum = minimum_bits(pool_, 64, 32, {.bits = 0.05});
  ASSERT_GT(minimum, 0.05);
  const std::string error = error_of(data, {.bits = 0.05});
  EXPECT_NE(error.find("side information"), std::string::npos) << error;
  EXPECT_NE(error.find(std::to_string(minimum).substr(0, 4)), std::string::npos) << error;
  EXPECT_NEAR(encode(data, {.bits = 1.0}).bits.file, 1.0, 0.02);
}

// The scales of a layer so small take most of its rate.
TEST_F(EncodeLayer, SmallLayersAreNoZeros) {
  for (const double bits : {1.7, 1.8, 2.0, 2.2}) {
    for (const std::string& family : layer_families()) {
      const LayerData data = layer(family, 14, 37);
      const EncodedLayer out = encode(data, {.bits = bits});
      EXPECT_LE(out.bits.file, bits + 0.05) << family;
      const Matrix<float> nothing(14, 37);
      EXPECT_LT(out.distortion, 0.9 * distortion(pool_, {data.W, data.S}, nothing))
          << family << " at " << bits;
    }
  }
}

TEST_F(EncodeLayer, AConstantIsCodedInFiniteNumbers) {
  LayerData data = layer("white", 64, 32);
  std::ranges::fill(data.W.values(), 0.01F);
  for (const double bits : {1.0, 2.0, 4.0}) {
    const EncodedLayer out = encode(data, {.bits = bits});
    const Matrix<float> V = dequantize(decode_tensor(out.bytes, pool_, "test"));
    for (const float v : V.values()) ASSERT_NEAR(v, 0.01, 0.01) << bits;
  }
}

TEST_F(EncodeLayer, WhereNothingLivesNothingIsSpent) {
  LayerData data = layer("white", 64, 32);
  data.S = Matrix<double>(32, 32);
  const EncodedLayer out = encode(data, {.bits = 2});
  EXPECT_EQ(out.tensor.live(), 0);
  EXPECT_EQ(out.distortion, 0);
  EXPECT_LT(out.bits.file, 2);
  data = layer("white", 64, 32);
  data.W = Matrix<float>(64, 32);
  const EncodedLayer zeros = encode(data, {.bits = 2});
  EXPECT_EQ(zeros.distortion, 0);
}

// Rows of very different weight, and rows that go together: what counts falls by much.
TEST_F(EncodeLayer, MindsTheMetricOfTheOutputs) {
  const int64_t rows = 320;
  const LayerData data = layer("ar1", rows, 64);
  Rng rng(4);
  Matrix<double> G(rows, rows), diagonal(1, rows);
  for (int64_t k = 0; k < rows; ++k) {
    diagonal(0, k) = std::exp2(2 * rng.normal());
    for (int64_t j = 0; j < rows; ++j)
      G(k, j) = std::exp2(-std::fabs(static_cast<double>(k % 64 - j % 64))) *
                (k / 64 == j / 64 ? 1 : 0.9);
  }
  for (const int trellis : {0, 64}) {
    for (const auto* metric : {&diagonal, &G}) {
      LayerProblem problem{.W = data.W, .S = data.S};
      const QuantizerOptions options{.bits = 2.5, .trellis = trellis};
      const EncodedLayer plain = encode_layer(pool_, problem, options);
      problem.output_metric = *metric;
      const EncodedLayer minded = encode_layer(pool_, problem, options);
      EXPECT_NEAR(minded.bits.file, 2.5, 2 * kTolerance);  // a small layer
      EXPECT_EQ(plain.weighted_distortion, 0);
      EXPECT_DOUBLE_EQ(minded.weighted_distortion,
                       distortions(pool_, problem, dequantize(minded.tensor)).weighted);
      const double before = distortions(pool_, problem, dequantize(plain.tensor)).weighted;
      EXPECT_LT(minded.weighted_distortion, 0.7 * before) << trellis;
      EXPECT_GT(minded.distortion, plain.distortion);
    }
  }
}

// Rows of a head go together and those of others do not: only in turn can they mend each other.
TEST_F(EncodeLayer, RowsOfHeadsMendEachOther) {
  const int64_t rows = 256, cols = 64, heads = 4;
  const LayerData data = layer("ar1", rows, cols);
  Matrix<double> G(rows, rows);
  for (int64_t k = 0; k < rows; ++k)
    for (int64_t j = 0; j < rows; ++j)
      if (k / 64 == j / 64) G(k, j) = k == j ? 1 : 0.8;
  LayerProblem problem{.W = data.W, .S = data.S, .output_metric = G};
  const QuantizerOptions options{.bits = 3};
  const EncodedLayer before = encode_layer(pool_, problem, options);
  problem.heads = heads;
  const EncodedLayer after = encode_layer(pool_, problem, options);
  EXPECT_EQ(before.tensor.strands, 1);
  EXPECT_EQ(after.tensor.strands, heads);
  EXPECT_NEAR(after.bits.file, 3, 2 * kTolerance);
  EXPECT_LT(after.weighted_distortion, 0.7 * before.weighted_distortion);

  // The same target told as other weights and what is lost, which is in the rows' own order, too.
  Rng rng(4);
  Matrix<double> D(rows, cols), DS(rows, cols);
  Matrix<float> W = data.W;
  for (size_t i = 0; i < D.values().size(); ++i) {
    D.values()[i] = 0.3 * rng.normal();
    W.values()[i] -= static_cast<float>(D.values()[i]);
  }
  gemm(pool_, Op::kNone, Op::kNone, 1.0, D, data.S, 0.0, DS);
  Matrix<float> lost(rows, cols);
  for (size_t i = 0; i < lost.values().size(); ++i)
    lost.values()[i] = static_cast<float>(DS.values()[i]);
  const EncodedLayer same = encode_layer(
      pool_, {.W = W, .S = data.S, .lost = lost, .output_metric = G, .heads = heads}, options);
  EXPECT_NEAR(distortions(pool_, problem, dequantize(same.tensor)).weighted,
              after.weighted_distortion,
              0.3 * after.weighted_distortion);  // another search, and G is four directions mostly
}

TEST_F(EncodeLayer, AMetricThatTellsNothingChangesLittle) {
  const LayerData data = layer("powerlaw", 256, 96);
  Matrix<double> I(256, 256);
  for (int64_t k = 0; k < 256; ++k) I(k, k) = 3;
  LayerProblem problem{.W = data.W, .S = data.S};
  const QuantizerOptions options{.bits = 3};
  const double plain = encode_layer(pool_, problem, options).distortion;
  problem.output_metric = I;
  const EncodedLayer minded = encode_layer(pool_, problem, options);
  EXPECT_NEAR(minded.distortion, plain, 0.05 * plain);
  EXPECT_NEAR(minded.weighted_distortion, minded.distortion, 1e-9 * plain);
}

}  // namespace
}  // namespace watersic
