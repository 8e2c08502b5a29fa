#include "model/model_backward.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace watersic {
namespace {

// x := exp(x - max x) and its sum; log sum exp of the old x is top + log(sum).
struct Exponentials {
  float top = 0;
  double sum = 0;
  double log_sum() const { return static_cast<double>(top) + std::log(sum); }
};

Exponentials exponentiate(std::span<float> x) {
  Exponentials e{.top = *std::max_element(x.begin(), x.end())};
  for (float& v : x) {
    v = std::exp(v - e.top);
    e.sum += static_cast<double>(v);
  }
  return e;
}

// sum_i p_i (log p_i - log q_i) = sum_i p_i (r_i - l_i) - (log sum exp r - log sum exp l)
double kl_row(float scale, std::span<float> r, std::span<float> l) {
  const float top = *std::max_element(r.begin(), r.end());
  double sum = 0, difference = 0;
  for (size_t i = 0; i < r.size(); ++i) {
    const float e = std::exp(r[i] - top);
    sum += static_cast<double>(e);
    difference += static_cast<double>(e) * (static_cast<double>(r[i]) - static_cast<double>(l[i]));
    r[i] = e;
  }
  const Exponentials q = exponentiate(l);
  const double kl = difference / sum - (static_cast<double>(top) + std::log(sum)) + q.log_sum();
  const auto to_p = static_cast<float>(1 / sum), to_q = static_cast<float>(1 / q.sum);
  for (size_t i = 0; i < r.size(); ++i) l[i] = scale * (l[i] * to_q - r[i] * to_p);
  return kl;
}

// The sum of body(i) over the rows, in their order.
double sum_of_rows(ThreadPool& pool, int64_t rows, const std::function<double(int64_t)>& body) {
  std::vector<double> each(static_cast<size_t>(rows));
  pool.parallel_for(rows, [&](int64_t i) { each[static_cast<size_t>(i)] = body(i); });
  double sum = 0;
  for (const double x : each) sum += x;
  return sum;
}

}  // namespace

double kl_loss(ThreadPool& pool, float scale, MatrixView<float> reference,
               MatrixView<float> logits) {
  assert(reference.rows() == logits.rows() && reference.cols() == logits.cols());
  return sum_of_rows(pool, logits.rows(),
                     [&](int64_t i) { return kl_row(scale, reference.row(i), logits.row(i)); });
}

double model_backward(ThreadPool& pool, const ModelConfig& config, const WeightSource& source,
                      const OutputHead& head, std::span<const std::vector<int32_t>> windows,
                      const LossFn& loss, const ModelGradientFn& gradient) {
  assert(!windows.empty() && !windows.front().empty());
  const auto length = static_cast<int64_t>(windows.front().size());
  const RopeTable rope(config, length);
  Matrix<float> X = embed_windows(config, source, windows);
  std::vector<Matrix<float>> inputs;  // of the blocks
  for (int64_t block = 0; block < config.blocks; ++block) {
    inputs.push_back(X);
    forward_block(pool, config, rope, load_block(pool, config, source, block), length, X);
  }

  double total = 0;
  Matrix<float> dX(X.rows(), X.cols());
  for (int64_t first = 0; first < X.rows(); first += kLossRows) {
    const int64_t rows = std::min(kLossRows, X.rows() - first);
    const MatrixView<const float> some = X.view().block(first, 0, rows, X.cols());
    Matrix<float> logits = head.logits(pool, some);
    total += loss(first, logits);
    const Matrix<float> d = head.backward(pool, some, logits);
    for (int64_t i = 0; i < rows; ++i) std::ranges::copy(d.row(i), dX.row(first + i).begin());
  }

  for (int64_t block = config.blocks - 1; block >= 0; --block) {
    const BlockWeights weights = load_block(pool, config, source, block);
    backward_block(
        pool, config, rope, weights, length, inputs.back(), dX,
        [&](Linear linear, const LinearGradient& layer) { gradient(block, linear, layer); });
    inputs.pop_back();
  }
  return total;
}

}  // namespace watersic
