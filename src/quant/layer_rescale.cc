// A layer's rescalers: the columns' scales fitted to some rows at once, the others' row scales slab
// by slab.
#include <algorithm>
#include <cassert>
#include <iterator>

#include "linalg/blas.h"
#include "quant/layer.h"
#include "quant/rescale.h"
#include "quant/slabs.h"

namespace watersic {
namespace {

// Integers other than 0 from which a column's scale is fitted to some rows.
constexpr int64_t kTelling = 16;

// Of each column.
std::vector<int64_t> nonzeros(const Matrix<int32_t>& Z) {
  std::vector<int64_t> counts(static_cast<size_t>(Z.cols()));
  for (int64_t k = 0; k < Z.rows(); ++k) {
    const auto row = Z.row(k);
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += row[i] != 0 ? 1 : 0;
  }
  return counts;
}

}  // namespace

// The rows to which the columns' scales are fitted, rising.
std::vector<int64_t> LayerQuantizer::rows_to_rescale() const {
  const int64_t a = problem_.W.rows();
  std::vector<int64_t> rows = all_rows(a);
  const int64_t some = rescaled_rows(a);
  if (a <= some) return rows;
  if (outputs_.empty()) {
    for (int64_t k = 0; k < some; ++k) rows[static_cast<size_t>(k)] = k * a / some;
  } else {
    const auto& root = outputs_.root;
    std::stable_sort(rows.begin(), rows.end(), [&](int64_t x, int64_t y) {
      return root[static_cast<size_t>(x)] > root[static_cast<size_t>(y)];
    });
  }
  rows.resize(static_cast<size_t>(some));
  std::sort(rows.begin(), rows.end());
  return rows;
}

// What the rescalers shall mind of these rows, and their part of w2. With a metric of the outputs
// that is the targets that they had, each times its root: then the rows count alike.
Matrix<float> LayerQuantizer::rescaled_moment(const QuantizedLayer& layer,
                                              MatrixView<const float> S,
                                              std::span<const int64_t> rows, double& w2) const {
  Matrix<float> T(static_cast<int64_t>(rows.size()), live()), C(T.rows(), live());
  pool_.parallel_for(T.rows(), [&](int64_t k) {
    const int64_t row = rows[static_cast<size_t>(k)];
    const double root = outputs_.empty() ? 1 : outputs_.root[static_cast<size_t>(row)];
    for (int64_t i = 0; i < live(); ++i)
      T(k, order_[static_cast<size_t>(i)]) = static_cast<float>(
          root * static_cast<double>(layer.target.empty() ? target(row, i) : layer.target(row, i)));
  });
  gemm(pool_, Op::kNone, Op::kNone, 1.0F, T, S, 0.0F, C);
  std::vector<double> sums(rows.size());
  pool_.parallel_for(T.rows(), [&](int64_t k) {
    for (int64_t i = 0; i < live(); ++i)
      sums[static_cast<size_t>(k)] += static_cast<double>(T(k, i)) * static_cast<double>(C(k, i));
  });
  for (const double sum : sums) w2 += sum;
  return C;
}

void LayerQuantizer::rescale(QuantizedLayer& layer) const {
  if (!has_column_steps(options_.method) || !options_.rescalers || live() == 0 || layer.rows == 0)
    return;
  assert(layer.rows == problem_.W.rows());
  Matrix<float> S;
  {
    Matrix<double> room;
    S = narrow(pool_, live_view(pool_, metric(), columns_, room));
  }
  std::vector<double> alpha = layer.alpha;
  if (layer.trellis > 0)
    for (double& x : alpha) x /= 2;  // of Z, which is twice the value
  if (layer.gamma.empty()) layer.gamma.assign(alpha.size(), 1.0);
  // From here on of the rows times their roots.
  std::vector<double> given(static_cast<size_t>(layer.rows), 1.0);
  for (size_t k = 0; k < layer.t.size() && !layer.bitshift.empty(); ++k)
    given[k] = layer.t[k] * (outputs_.empty() ? 1 : outputs_.root[k]);
  layer.t.assign(static_cast<size_t>(layer.rows), 0.0);
  const std::vector<int64_t> chosen = rows_to_rescale();
  {
    double w2 = 0;
    Matrix<float> C(static_cast<int64_t>(chosen.size()), live());
    Matrix<int32_t> Z(C.rows(), live());
    over_slabs(chosen, kWideRows, [&](std::span<const int64_t> rows, int64_t at) {
      const Matrix<float> some = rescaled_moment(layer, S, rows, w2);
      pool_.parallel_for(some.rows(), [&](int64_t k) {
        std::ranges::copy(some.row(k), C.row(at + k).begin());
        std::ranges::copy(layer.Z.row(rows[static_cast<size_t>(k)]), Z.row(at + k).begin());
      });
    });
    std::vector<double> t;
    t.reserve(chosen.size());
    for (const int64_t k : chosen) t.push_back(given[static_cast<size_t>(k)]);
    Rescaled rescaled = watersic::rescale(pool_, Z, alpha, std::move(t), layer.gamma, C, S, w2);
    // Few integers tell nothing of what the column holds elsewhere.
    if (std::ssize(chosen) < layer.rows) {
      const std::vector<int64_t> counts = nonzeros(Z);
      for (size_t i = 0; i < counts.size(); ++i)
        if (counts[i] < kTelling) rescaled.gamma[i] = layer.gamma[i];
    }
    layer.gamma = std::move(rescaled.gamma);
    for (size_t k = 0; k < chosen.size(); ++k)
      layer.t[static_cast<size_t>(chosen[k])] = rescaled.t[k];
  }
  std::vector<int64_t> others;
  std::ranges::set_difference(all_rows(layer.rows), chosen, std::back_inserter(others));
  over_slabs(others, kWideRows, [&](std::span<const int64_t> rows, int64_t) {
    double w2 = 0;
    const Matrix<float> C = rescaled_moment(layer, S, rows, w2);
    Matrix<int32_t> Z(C.rows(), live());
    pool_.parallel_for(Z.rows(), [&](int64_t k) {
      std::ranges::copy(layer.Z.row(rows[static_cast<size_t>(k)]), Z.row(k).begin());
    });
    const std::vector<double> t = row_scales(pool_, Z, alpha, layer.gamma, C, S);
    for (size_t k = 0; k < rows.size(); ++k) layer.t[static_cast<size_t>(rows[k])] = t[k];
  });
  if (outputs_.empty()) return;
  for (size_t k = 0; k < layer.t.size(); ++k) layer.t[k] /= outputs_.root[k];
}

}  // namespace watersic
