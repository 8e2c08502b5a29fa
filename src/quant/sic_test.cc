// The loop against the definition: the recursion of docs/algorithm.md, written out.
#include "quant/sic.h"

#include <gtest/gtest.h>

#include <cmath>

#include "linalg/blas.h"
#include "quant/columns.h"
#include "quant/families.h"

namespace watersic {
namespace {

struct Factored {
  Matrix<double> L, Y;  // lower; W L
  std::vector<double> diagonal;
};

Factored factored(ThreadPool& pool, const LayerData& layer) {
  Factored f{layer.S, Matrix<double>(layer.W.rows(), layer.W.cols()), {}};
  double trace = 0;
  for (int64_t i = 0; i < f.L.rows(); ++i) trace += f.L(i, i);
  for (int64_t i = 0; i < f.L.rows(); ++i)
    f.L(i, i) += 1e-4 * trace / static_cast<double>(f.L.rows());
  EXPECT_EQ(cholesky(pool, f.L), -1);
  Matrix<double> W(layer.W.rows(), layer.W.cols());
  std::copy(layer.W.values().begin(), layer.W.values().end(), W.data());
  gemm(pool, Op::kNone, Op::kNone, 1.0, W, f.L, 0.0, f.Y);
  for (int64_t i = 0; i < f.L.rows(); ++i) f.diagonal.push_back(f.L(i, i));
  return f;
}

template <class T>
struct Run {
  Matrix<int32_t> Zt;
  Matrix<T> Vt, Yt;  // Yt: as its columns were quantized
  std::vector<double> g;
};

template <class T>
class Recorder : public ColumnQuantizer<T> {
 public:
  Recorder(ColumnQuantizer<T>& quantizer, Matrix<T>& Yt) : quantizer_(quantizer), Yt_(Yt) {}
  void quantize(int64_t i, std::span<T> y, std::span<int32_t> z) override {
    std::ranges::copy(y, Yt_.row(i).begin());
    quantizer_.quantize(i, y, z);
  }

 private:
  ColumnQuantizer<T>& quantizer_;
  Matrix<T>& Yt_;
};

template <class T>
Run<T> run_zsic(ThreadPool& pool, const Factored& f, double c) {
  Matrix<T> L(f.L.rows(), f.L.cols());
  std::copy(f.L.values().begin(), f.L.values().end(), L.data());
  Run<T> run{Matrix<int32_t>(f.Y.cols(), f.Y.rows()),
             Matrix<T>(f.Y.cols(), f.Y.rows()),
             Matrix<T>(f.Y.cols(), f.Y.rows()),
             {}};
  for (int64_t k = 0; k < f.Y.rows(); ++k)
    for (int64_t i = 0; i < f.Y.cols(); ++i) run.Vt(i, k) = static_cast<T>(f.Y(k, i));
  Rounder rounder(pool, 0, 0);
  ZsicQuantizer<T> quantizer(pool, rounder, c, true, f.diagonal);
  Recorder<T> recorder(quantizer, run.Yt);
  cancel_successively<T>(pool, L, run.Vt, 0, recorder, run.Zt);
  run.g = quantizer.lmmse_factor();
  return run;
}

TEST(Sic, BlockedLoopIsTheDefinition) {
  ThreadPool pool(2);
  const LayerData layer = make_layer(pool, "ar1", 90, 75, 4);
  const Factored f = factored(pool, layer);
  const double c = 0.3;
  const auto run = run_zsic<double>(pool, f, c);

  Matrix<double> Y = f.Y;
  for (int64_t i = Y.cols() - 1; i >= 0; --i) {
    double zy = 0, zz = 0;
    std::vector<double> z(static_cast<size_t>(Y.rows()));
    for (int64_t k = 0; k < Y.rows(); ++k) {
      z[static_cast<size_t>(k)] = std::nearbyint(Y(k, i) / c);
      zy += z[static_cast<size_t>(k)] * Y(k, i);
      zz += z[static_cast<size_t>(k)] * z[static_cast<size_t>(k)];
    }
    const double g = zz > 0 ? zy / (c * zz) : 0;
    EXPECT_NEAR(run.g[static_cast<size_t>(i)], g, 1e-9);
    for (int64_t k = 0; k < Y.rows(); ++k) {
      ASSERT_EQ(run.Zt(i, k), z[static_cast<size_t>(k)]) << "column " << i << " row " << k;
      const double v = g * c / f.L(i, i) * z[static_cast<size_t>(k)];
      EXPECT_NEAR(run.Vt(i, k), v, 1e-9);
      for (int64_t j = 0; j <= i; ++j) Y(k, j) -= v * f.L(i, j);
    }
  }
}

// Every column's error lies in the cell of its step: |y - c z| <= c / 2 in the rotated domain.
TEST(Sic, ErrorsStayInsideTheirCells) {
  ThreadPool pool(2);
  for (const std::string& name : layer_families()) {
    if (name == "hard") continue;  // its dead features belong out of the loop
    const Factored f = factored(pool, make_layer(pool, name, 100, 64, 5));
    const double c = 0.1;
    const auto run = run_zsic<double>(pool, f, c);
    for (int64_t i = 0; i < run.Yt.rows(); ++i)
      for (int64_t k = 0; k < run.Yt.cols(); ++k)
        ASSERT_LE(std::fabs(run.Yt(i, k) - c * run.Zt(i, k)), c / 2 * (1 + 1e-9)) << name;
  }
}

// Why float32 is safe in the loop: nearly all integers agree with float64, and the distortion does.
TEST(Sic, Float32AgreesWithFloat64) {
  ThreadPool pool(2);
  for (const char* name : {"powerlaw", "ar1"}) {
    const Factored f = factored(pool, make_layer(pool, name, 256, 256, 6));
    const double c = 0.05;
    const auto wide = run_zsic<double>(pool, f, c);
    const auto narrow = run_zsic<float>(pool, f, c);
    int64_t different = 0;
    for (size_t i = 0; i < wide.Zt.values().size(); ++i)
      different += wide.Zt.values()[i] != narrow.Zt.values()[i];
    EXPECT_LT(static_cast<double>(different), 2e-3 * static_cast<double>(wide.Zt.size())) << name;
    double wide_error = 0, narrow_error = 0;
    for (int64_t i = 0; i < wide.Yt.rows(); ++i) {
      for (int64_t k = 0; k < wide.Yt.cols(); ++k) {
        wide_error +=
            std::pow(wide.Yt(i, k) - wide.g[static_cast<size_t>(i)] * c * wide.Zt(i, k), 2);
        narrow_error +=
            std::pow(narrow.Yt(i, k) - narrow.g[static_cast<size_t>(i)] * c * narrow.Zt(i, k), 2);
      }
    }
    EXPECT_NEAR(narrow_error / wide_error, 1, 1e-3) << name;
  }
}

TEST(Sic, TheSameIntegersAtAnyNumberOfThreads) {
  ThreadPool one(1), three(3);
  const Factored f = factored(one, make_layer(one, "powerlaw", 2500, 70, 7));
  const auto a = run_zsic<float>(one, f, 0.05), b = run_zsic<float>(three, f, 0.05);
  EXPECT_TRUE(std::equal(a.Zt.values().begin(), a.Zt.values().end(), b.Zt.values().begin()));
  EXPECT_TRUE(std::equal(a.Vt.values().begin(), a.Vt.values().end(), b.Vt.values().begin()));
}

}  // namespace
}  // namespace watersic
