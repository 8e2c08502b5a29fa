// The methods against their definitions.
#include "quant/layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/rng.h"
#include "linalg/blas.h"
#include "quant/distortion.h"
#include "quant/families.h"
#include "quant/rescale.h"
#include "quant/slabs.h"
#include "support/random_matrix.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// V by the documentation of QuantizedLayer.
Matrix<float> dequantized(const QuantizedLayer& layer) {
  Matrix<float> V(layer.rows, layer.cols);
  for (int64_t k = 0; k < layer.rows; ++k) {
    for (size_t i = 0; i < layer.columns.live.size(); ++i) {
      double scale = 1;
      if (!layer.column_group.empty()) {
        scale = layer.group_scale(k, layer.column_group[i]);
      } else {
        if (!layer.t.empty()) scale *= layer.t[static_cast<size_t>(k)];
        if (!layer.gamma.empty()) scale *= layer.gamma[i];
        if (layer.trellis > 0) scale *= 0.5;
        if (!layer.alpha.empty())
          scale *= layer.alpha.size() == 1 ? layer.alpha[0] : layer.alpha[i];
      }
      V(k, layer.columns.live[i]) = static_cast<float>(scale * layer.Z(k, static_cast<int64_t>(i)));
    }
  }
  return V;
}

Matrix<double> inverse(Matrix<double> A) {
  const int64_t n = A.rows();
  Matrix<double> B(n, n);
  for (int64_t i = 0; i < n; ++i) B(i, i) = 1;
  for (int64_t p = 0; p < n; ++p) {  // Gauss and Jordan; A is positive definite
    const double pivot = A(p, p);
    for (int64_t j = 0; j < n; ++j) A(p, j) /= pivot, B(p, j) /= pivot;
    for (int64_t i = 0; i < n; ++i) {
      const double factor = A(i, p);
      if (i == p || factor == 0) continue;
      for (int64_t j = 0; j < n; ++j) A(i, j) -= factor * A(p, j), B(i, j) -= factor * B(p, j);
    }
  }
  return B;
}

// GPTQ as its authors wrote it: columns first to last, errors carried through the upper Cholesky
// factor of the inverse. quantize(w, i, W): the value for a weight in column i, W as it stands.
Matrix<double> textbook_gptq(
    Matrix<double> W, Matrix<double> H, double damping,
    const std::function<double(int64_t k, int64_t i, const Matrix<double>& W)>& quantize) {
  const int64_t n = H.rows();
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += H(i, i) / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) H(i, i) += damping * mean;
  const Matrix<double> P = inverse(H);
  Matrix<double> U(n, n);  // P = U^T U
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      double sum = P(i, j);
      for (int64_t k = 0; k < i; ++k) sum -= U(k, i) * U(k, j);
      U(i, j) = i == j ? std::sqrt(sum) : sum / U(i, i);
    }
  }
  Matrix<double> V(W.rows(), n);
  for (int64_t i = 0; i < n; ++i) {
    const Matrix<double> now = W;
    for (int64_t k = 0; k < W.rows(); ++k) {
      V(k, i) = quantize(k, i, now);
      const double error = (W(k, i) - V(k, i)) / U(i, i);
      for (int64_t j = i; j < n; ++j) W(k, j) -= error * U(i, j);
    }
  }
  return V;
}

Matrix<double> widened(const Matrix<float>& A) {
  Matrix<double> B(A.rows(), A.cols());
  std::copy(A.values().begin(), A.values().end(), B.data());
  return B;
}

double share_different(const Matrix<float>& V, const Matrix<double>& expected) {
  int64_t different = 0;
  for (size_t i = 0; i < V.values().size(); ++i) {
    different += std::fabs(V.values()[i] - expected.values()[i]) >
                 1e-4 * (1 + std::fabs(expected.values()[i]));
  }
  return static_cast<double>(different) / static_cast<double>(V.size());
}

class LayerMethods : public ::testing::Test {
 protected:
  QuantizedLayer run(const QuantizerOptions& options, double step = 0) {
    LayerQuantizer quantizer(pool_, {layer_.W, layer_.S}, options);
    QuantizedLayer out = quantizer.quantize(step);
    quantizer.rescale(out);
    return out;
  }
  double error_of(const QuantizedLayer& q) {
    return distortion(pool_, {layer_.W, layer_.S}, dequantized(q));
  }

  ThreadPool pool_{2};
  LayerData layer_ = make_layer(pool_, "ar1", 48, 70, 21);
};

TEST_F(LayerMethods, HuffmanGptqIsTextbookGptqWithOneStep) {
  const QuantizedLayer q = run({.method = Method::kHuffmanGptq}, 0.25);
  const Matrix<double> V = textbook_gptq(
      widened(layer_.W), layer_.S, 0.1,
      [](int64_t k, int64_t i, const auto& W) { return 0.25 * std::nearbyint(W(k, i) / 0.25); });
  EXPECT_LT(share_different(dequantized(q), V), 2e-3);  // a tie may fall otherwise in float32
}

double row_grid(const Matrix<double>& W, int64_t k, int64_t i, int64_t from, int64_t to, int bits) {
  double largest = 0;
  for (int64_t j = from; j < to; ++j) largest = std::max(largest, std::fabs(W(k, j)));
  const double scale = 2 * largest / (std::exp2(bits) - 1), half = std::exp2(bits - 1);
  return scale * std::clamp(std::nearbyint(W(k, i) / scale), -half, half - 1);
}

TEST_F(LayerMethods, GptqIsTextbookGptqUpToTheRoundingOfItsScales) {
  const Matrix<double> W = widened(layer_.W);
  const Matrix<double> V =
      textbook_gptq(W, layer_.S, 0.1, [&](int64_t k, int64_t i, const auto& now) {
        double largest = 0;
        for (const double w : W.row(k)) largest = std::max(largest, std::fabs(w));
        const double scale = 2 * largest / 15;
        return scale * std::clamp(std::nearbyint(now(k, i) / scale), -8.0, 7.0);
      });
  const QuantizedLayer q = run({.method = Method::kGptq, .bits = 4});
  Matrix<float> narrow(V.rows(), V.cols());
  std::copy(V.values().begin(), V.values().end(), narrow.data());
  EXPECT_NEAR(error_of(q) / distortion(pool_, {layer_.W, layer_.S}, narrow), 1, 0.01);
}

TEST_F(LayerMethods, GroupsTakeTheirScalesFromTheWeightsAsTheyStand) {
  std::vector<double> scales(48);
  const Matrix<double> V =
      textbook_gptq(widened(layer_.W), layer_.S, 0.1, [&](int64_t k, int64_t i, const auto& W) {
        if (i % 16 == 0) {
          double largest = 0;
          for (int64_t j = i; j < std::min<int64_t>(70, i + 16); ++j)
            largest = std::max(largest, std::fabs(W(k, j)));
          scales[static_cast<size_t>(k)] = 2 * largest / 7;
        }
        const double scale = scales[static_cast<size_t>(k)];
        return scale * std::clamp(std::nearbyint(W(k, i) / scale), -4.0, 3.0);
      });
  const QuantizedLayer q = run({.method = Method::kGptq, .bits = 3, .group_size = 16});
  EXPECT_EQ(q.group_scale.cols(), 5);
  EXPECT_EQ(q.column_group[0], 0);
  EXPECT_EQ(q.column_group[69], 4);
  Matrix<float> narrow(V.rows(), V.cols());
  std::copy(V.values().begin(), V.values().end(), narrow.data());
  EXPECT_NEAR(error_of(q) / distortion(pool_, {layer_.W, layer_.S}, narrow), 1, 0.02);
}

TEST_F(LayerMethods, RtnRoundsEachWeightByItself) {
  const QuantizedLayer q = run({.method = Method::kRtn, .bits = 3, .group_size = 32});
  const Matrix<float> V = dequantized(q);
  const Matrix<double> W = widened(layer_.W);
  for (int64_t k = 0; k < 48; ++k) {
    for (int64_t i = 0; i < 70; ++i) {
      const int64_t from = i / 32 * 32, to = std::min<int64_t>(70, from + 32);
      // The largest weight of a group lies halfway between two levels: either is right. So compare
      // errors.
      EXPECT_NEAR(std::fabs(V(k, i) - W(k, i)), std::fabs(row_grid(W, k, i, from, to, 3) - W(k, i)),
                  4e-3);
    }
  }
  const QuantizedLayer h = run({.method = Method::kHuffmanRtn}, 0.5);
  for (int64_t k = 0; k < 48; ++k)
    for (int64_t i = 0; i < 70; ++i) EXPECT_EQ(h.Z(k, i), std::lrint(layer_.W(k, i) / 0.5F));
}

TEST_F(LayerMethods, ActivationOrderChangesTheOrderAndHelpsOnUnequalFeatures) {
  layer_ = make_layer(pool_, "hard", 64, 96, 22);
  const double plain = error_of(run({.method = Method::kGptq, .bits = 3}));
  const double ordered =
      error_of(run({.method = Method::kGptq, .bits = 3, .activation_order = true}));
  EXPECT_LT(ordered, plain);
}

TEST_F(LayerMethods, EachIngredientOfWatersicLowersTheDistortion) {
  const LayerQuantizer quantizer(pool_, {layer_.W, layer_.S}, {});
  const double step = quantizer.initial_step(1.5);
  const auto error = [&](bool lmmse, bool rescalers) {
    return error_of(run({.rescalers = rescalers, .lmmse = lmmse, .shrinkage = 0}, step));
  };
  EXPECT_LT(error(true, false), error(false, false));
  EXPECT_LT(error(true, true), error(true, false));
  EXPECT_LT(error(false, true), error(false, false));
}

TEST_F(LayerMethods, DeadFeaturesAreZeroColumnsAndLeaveTheOthersAlone) {
  layer_ = make_layer(pool_, "hard", 32, 80, 23);
  const QuantizedLayer q = run({}, 0.05);
  EXPECT_EQ(q.columns.dead.size(), 12U);
  EXPECT_EQ(q.Z.cols(), 68);
  const Matrix<float> V = dequantized(q);
  for (const int32_t j : q.columns.dead)
    for (int64_t k = 0; k < V.rows(); ++k) EXPECT_EQ(V(k, j), 0.0F);
  EXPECT_EQ(run({.dead_threshold = 0.0}, 0.05).columns.dead.size(), 0U);
}

TEST_F(LayerMethods, AProbeOfSomeRowsQuantizesThemAlike) {
  // Without LMMSE and a trellis rows don't see each other.
  LayerQuantizer quantizer(pool_, {layer_.W, layer_.S}, {.lmmse = false, .trellis = 0});
  const auto all = quantizer.quantize(0.1);
  const std::vector<int64_t> rows{3, 17, 40};
  const auto some = quantizer.quantize(0.1, rows);
  for (size_t r = 0; r < rows.size(); ++r)
    for (int64_t i = 0; i < 70; ++i)
      EXPECT_EQ(some.Z(static_cast<int64_t>(r), i), all.Z(rows[r], i));
}

TEST_F(LayerMethods, AnIndefiniteCovarianceIsAnError) {
  layer_.S(5, 5) = 1e-3;  // less than its correlation with its neighbours allows
  EXPECT_THROW(run({.dead_threshold = 0.0}, 0.1), Error);
}

// The other moments of a layer inside a model: x' = x + noise that is correlated with x, and
// lost outputs that are correlated with x'.
struct DriftCase {
  LayerData layer;
  Matrix<double> S_quantized;
  Matrix<float> drift, lost;
  LayerProblem problem() const {
    return {.W = layer.W, .S = layer.S, .S_quantized = S_quantized, .drift = drift, .lost = lost};
  }
};

DriftCase drift_case(ThreadPool& pool) {
  DriftCase c{make_layer(pool, "ar1", 48, 24, 5), {}, {}, {}};
  const int64_t n = 24;
  // x' = M x + e: E[x' x'^T] = M S M^T + 0.01 I, E[x x'^T] = S M^T; the drift is their difference.
  Rng rng(6);
  Matrix<double> M(n, n), MS(n, n), drift(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) M(i, j) = (i == j ? 0.9 : 0.0) + 0.02 * rng.normal();
  c.S_quantized = Matrix<double>(n, n);
  c.drift = Matrix<float>(n, n);
  c.lost = Matrix<float>(48, n);
  gemm(pool, Op::kNone, Op::kNone, 1.0, M, c.layer.S, 0.0, MS);
  gemm(pool, Op::kNone, Op::kTranspose, 1.0, MS, M, 0.0, c.S_quantized);
  for (int64_t i = 0; i < n; ++i) c.S_quantized(i, i) += 0.01;
  gemm(pool, Op::kNone, Op::kTranspose, 1.0, c.layer.S, M, 0.0, drift);
  for (size_t i = 0; i < c.drift.values().size(); ++i)
    c.drift.values()[i] = static_cast<float>(drift.values()[i] - c.S_quantized.values()[i]);
  for (float& r : c.lost.values()) r = static_cast<float>(0.05 * rng.normal());
  return c;
}

TEST(LayerQuantizer, AtFineStepsGivesTheLeastSquaresAnswerOfTheDriftedProblem) {
  ThreadPool pool(2);
  const DriftCase c = drift_case(pool);
  const int64_t a = 48, n = 24;
  // V = W + C S'^{-1}, C = W E[(x - x') x'^T] + E[l x'^T].
  Matrix<double> W(a, n), D(n, n), C(a, n), expected(a, n);
  std::ranges::copy(c.drift.values(), D.data());
  std::copy(c.layer.W.values().begin(), c.layer.W.values().end(), W.data());
  gemm(pool, Op::kNone, Op::kNone, 1.0, W, D, 0.0, C);
  for (size_t i = 0; i < C.values().size(); ++i) C.values()[i] += c.lost.values()[i];
  gemm(pool, Op::kNone, Op::kNone, 1.0, C, inverse(c.S_quantized), 0.0, expected);
  for (size_t i = 0; i < W.values().size(); ++i) expected.values()[i] += W.values()[i];
  for (const ColumnOrder order : {ColumnOrder::kNative, ColumnOrder::kFalling}) {
    for (const bool rescalers : {false, true}) {
      LayerQuantizer quantizer(pool, c.problem(),
                               {.damping = 0, .rescalers = rescalers, .order = order});
      quantizer.prepare(1e-4);
      QuantizedLayer layer = quantizer.quantize(1e-4);
      quantizer.rescale(layer);
      const Matrix<float> V = dequantized(layer);
      for (size_t i = 0; i < V.values().size(); ++i)
        ASSERT_NEAR(V.values()[i], expected.values()[i], 2e-3);
      EXPECT_LT(quantizer.objective(V), 1e-6);
    }
  }
}

// What half of the tokens say and the other half denies is chance: columns of the whitened drift
// are believed by as much as they exceed that.
TEST(LayerQuantizer, BelievesOfTheDriftWhatIsMoreThanChance) {
  ThreadPool pool(2);
  DriftCase c = drift_case(pool);
  const int64_t a = 48, n = 24;
  c.S_quantized = c.layer.S = Matrix<double>(n, n);
  for (int64_t j = 0; j < n; ++j) c.S_quantized(j, j) = c.layer.S(j, j) = 1;
  Matrix<float> contrast = c.lost;
  const auto fine = [&] {
    LayerProblem problem = c.problem();
    problem.drift = {};
    problem.lost_contrast = contrast;
    LayerQuantizer quantizer(pool, problem, {.damping = 0, .rescalers = false});
    quantizer.prepare(1e-4);
    return dequantized(quantizer.quantize(1e-4));
  };
  const auto expect = [&](int64_t column, double share) {
    const Matrix<float> V = fine();
    for (int64_t k = 0; k < a; ++k)
      EXPECT_NEAR(V(k, column), c.layer.W(k, column) + share * c.lost(k, column), 2e-4);
  };
  expect(3, 0);  // all of it
  for (float& x : contrast.values()) x *= 0.5F;
  expect(3, 0.75);
  // Neighbours are believed alike, others not.
  for (int64_t k = 0; k < a; ++k)
    for (int64_t j = 0; j < 16; ++j) contrast(k, j) = 0;
  expect(3, 1);
  expect(15, 1);
  expect(16, 0.75);
}

TEST(LayerQuantizer, PlainMomentsAreTheDriftedProblemWithoutDrift) {
  ThreadPool pool(2);
  const LayerData data = make_layer(pool, "powerlaw", 64, 32, 5);
  const QuantizerOptions options;
  const Matrix<float> none(32, 32);
  LayerQuantizer plain(pool, {data.W, data.S}, options),
      drifted(pool, {.W = data.W, .S = data.S, .S_quantized = data.S, .drift = none}, options);
  for (LayerQuantizer* quantizer : {&plain, &drifted}) quantizer->prepare(0.3);
  QuantizedLayer one = plain.quantize(0.3), two = drifted.quantize(0.3);
  plain.rescale(one);
  drifted.rescale(two);
  const Matrix<float> V1 = dequantized(one), V2 = dequantized(two);
  EXPECT_NEAR(plain.objective(V1), distortion(pool, {data.W, data.S}, V1), 1e-6);
  EXPECT_NEAR(plain.objective(V1), drifted.objective(V2), 0.01 * plain.objective(V1));
}

TEST(LayerQuantizer, DampingGrowsWhereTheCovarianceCannotBeFactored) {
  ThreadPool pool(2);
  const LayerData data = make_layer(pool, "white", 16, 8, 5);
  Matrix<double> S(8, 8);  // of rank one, with a negative eigenvalue from rounding
  for (double& s : S.values()) s = 1;
  for (int64_t i = 0; i < 8; ++i) S(i, i) -= 1e-3;
  const LayerQuantizer quantizer(pool, {data.W, S}, {.damping = 1e-6});
  EXPECT_NEAR(quantizer.damping(), 1e-2, 1e-9);
  for (int64_t i = 0; i < 8; ++i) S(i, i) = 1e-3;  // beyond help
  EXPECT_THROW(LayerQuantizer(pool, {data.W, S}, {}), Error);
}

// More rows than a segment holds, and a metric of the outputs that is a diagonal.
TEST(Layer, RowsOfMoreWeightAreRoundedFiner) {
  constexpr int64_t kRows = 9000, kCols = 6;
  ThreadPool pool(2);
  Matrix<float> W = random_matrix<float>(kRows, kCols, 4);
  Matrix<double> S(kCols, kCols), weights(1, kRows);
  for (int64_t i = 0; i < kCols; ++i) S(i, i) = 1;
  for (int64_t k = 0; k < kRows; ++k) weights(0, k) = k % 2 == 0 ? 16 : 1;
  QuantizerOptions options;
  options.bits = 3;
  LayerQuantizer quantizer(pool, {.W = W, .S = S, .output_metric = weights}, options);
  quantizer.prepare(0.3);
  QuantizedLayer layer = quantizer.quantize(0.3);
  quantizer.rescale(layer);
  EXPECT_EQ(layer.segment_rows, kRows / 2);  // not one path down all rows
  const Matrix<float> V = dequantized(layer);
  double error[2] = {};
  for (int64_t k = 0; k < kRows; ++k)
    for (int64_t i = 0; i < kCols; ++i) {
      const double e = static_cast<double>(W(k, i)) - V(k, i);
      error[k % 2] += e * e;
    }
  // Weights of 16.85 and 1.85, a tenth of their mean added, ask for errors in their inverse.
  EXPECT_NEAR(error[1] / error[0], 16.85 / 1.85, 2);
}

// Two slabs of eight segments: each is what it would be without the other, with and without
// weights.
TEST(Layer, ATallOneIsQuantizedSlabBySlab) {
  constexpr int64_t kRows = 65536, kHalf = kRows / 2, kCols = 6;
  ASSERT_EQ(slab_rows(kRows), kHalf);
  ThreadPool pool(2);
  Rng rng(5);
  Matrix<float> W(kRows, kCols);
  for (float& w : W.values()) w = static_cast<float>(rng.normal());
  const Matrix<double> S = make_layer(pool, "ar1", 8, kCols, 3).S;
  Matrix<double> weights(1, kRows);
  for (double& w : weights.values()) w = std::exp(rng.normal());
  for (const bool weighted : {false, true}) {
    LayerProblem problem{.W = W, .S = S};
    if (weighted) problem.output_metric = weights;
    LayerQuantizer quantizer(pool, problem, {});
    quantizer.prepare(0.5);
    QuantizedLayer whole = quantizer.quantize(0.5);
    const std::vector<int64_t> all = all_rows(kRows);
    for (const int64_t from : {int64_t{0}, kHalf}) {
      const QuantizedLayer half =
          quantizer.quantize(0.5, std::span(all).subspan(static_cast<size_t>(from), kHalf));
      ASSERT_EQ(half.segment_rows, whole.segment_rows);
      EXPECT_TRUE(std::ranges::equal(
          half.Z.values(),
          whole.Z.values().subspan(static_cast<size_t>(from * kCols), kHalf * kCols)));
    }

    // The columns' factors come of some of the rows; every row has the scale that is best with
    // them.
    const double before = distortion(pool, problem, dequantized(whole));
    quantizer.rescale(whole);
    EXPECT_LT(distortion(pool, problem, dequantized(whole)), before);
    Matrix<float> C(kRows, kCols);
    gemm(pool, Op::kNone, Op::kNone, 1.0F, W, narrow(pool, S), 0.0F, C);
    std::vector<double> alpha = whole.alpha;
    for (double& x : alpha) x /= 2;
    const std::vector<double> best =
        row_scales(pool, whole.Z, alpha, whole.gamma, C, narrow(pool, S));
    for (size_t k = 0; k < best.size(); ++k)
      ASSERT_NEAR(whole.t[k], best[k], 1e-5 * (1 + std::fabs(best[k]))) << k;
  }
}

// A column that is zero in the rows to which the columns' factors are fitted keeps what the others
// hold there.
TEST(Layer, AColumnThatOnlyOtherRowsSeeKeepsItsScale) {
  constexpr int64_t kRows = 2000, kCols = 24;
  ThreadPool pool(2);
  Matrix<float> W = random_matrix<float>(kRows, kCols, 8);
  Matrix<double> S(kCols, kCols);
  for (int64_t i = 0; i < kCols; ++i) S(i, i) = 1;
  // The rows that count most are those that are chosen.
  Matrix<double> weights(1, kRows);
  for (int64_t k = 0; k < kRows; ++k) {
    weights(0, k) = k < kRows / 2 ? 2 : 1;
    W(k, 5) = k >= kRows / 2 && k % 50 == 0 ? 6.0F : 0.0F;
  }
  LayerQuantizer quantizer(pool, {.W = W, .S = S, .output_metric = weights}, {});
  quantizer.prepare(0.7);
  QuantizedLayer layer = quantizer.quantize(0.7);
  quantizer.rescale(layer);
  const Matrix<float> V = dequantized(layer);
  for (int64_t k = kRows / 2; k < kRows; k += 50) EXPECT_NEAR(V(k, 5), 6, 1) << k;
}

TEST(Layer, DistortionsAreOfAllRows) {
  constexpr int64_t kRows = 5000, kCols = 5;
  ThreadPool pool(2);
  Rng rng(6);
  Matrix<float> W(kRows, kCols), V(kRows, kCols);
  for (float& w : W.values()) w = static_cast<float>(rng.normal());
  for (float& v : V.values()) v = static_cast<float>(rng.normal());
  const Matrix<double> S = make_layer(pool, "ar1", 8, kCols, 3).S;
  Matrix<double> weights(1, kRows);
  double mean = 0, plain = 0, weighted = 0;
  for (int64_t k = 0; k < kRows; ++k) {
    weights(0, k) = std::exp(rng.normal());
    mean += weights(0, k) / kRows;
    double of_row = 0;
    for (int64_t i = 0; i < kCols; ++i)
      for (int64_t j = 0; j < kCols; ++j)
        of_row += (W(k, i) - V(k, i)) * S(i, j) * (W(k, j) - V(k, j)) / (kRows * kCols);
    plain += of_row;
    weighted += weights(0, k) * of_row;
  }
  EXPECT_NEAR(distortion(pool, {.W = W, .S = S}, V) / plain, 1, 1e-6);
  const Distortions both = distortions(pool, {.W = W, .S = S, .output_metric = weights}, V);
  EXPECT_NEAR(both.plain / plain, 1, 1e-6);
  EXPECT_NEAR(both.weighted / (weighted / mean), 1, 1e-6);
}

}  // namespace
}  // namespace watersic
