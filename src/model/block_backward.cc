#include "model/block_backward.h"

#include <algorithm>
#include <utility>

#include "linalg/blas.h"
#include "model/operators_backward.h"

namespace watersic {
namespace {

void add(ThreadPool& pool, MatrixView<const float> A, MatrixView<float> B) {
  by_rows(pool, A.rows(), [&](int64_t i) {
    for (int64_t j = 0; j < A.cols(); ++j) B(i, j) += A(i, j);
  });
}

// What the backward passes of a block's two halves share.
class BlockBackward {
 public:
  BlockBackward(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                const BlockWeights& weights, int64_t length, const LinearGradientFn& gradient)
      : pool_(pool),
        config_(config),
        rope_(rope),
        weights_(weights),
        length_(length),
        gradient_(gradient) {}

  // X: the stream before the block. dX: from the gradient at the block's output to that at X.
  void run(MatrixView<const float> X, MatrixView<float> dX) {
    const Matrix<float> A = attention_input(pool_, config_, weights_, X);
    const auto positions = window_positions(X.rows(), length_);
    Matrix<float> raw_Q, raw_K;  // before the norms
    const Heads heads = project(A, positions, raw_Q, raw_K);
    Matrix<float> H = attend(pool_, config_, length_, heads, nullptr, *weights_.operators);
    {
      Matrix<float> middle(X.rows(), X.cols());  // the stream between the halves
      for (int64_t i = 0; i < X.rows(); ++i)
        std::copy(X.row(i).begin(), X.row(i).end(), middle.row(i).begin());
      add_linear(pool_, weights_, kOutput, length_, H, middle);
      mlp(middle, dX);
    }
    weight_gradient(kOutput, H, dX);
    H = Matrix<float>();
    Heads d = attend_backward(pool_, config_, length_, heads, input_gradient(kOutput, dX),
                              *weights_.operators);
    place_heads_backward(pool_, config_, rope_, weights_.query_norm, positions, raw_Q, d.Q);
    place_heads_backward(pool_, config_, rope_, weights_.key_norm, positions, raw_K, d.K);
    weight_gradient(kValue, A, d.V);
    weight_gradient(kKey, A, d.K);
    weight_gradient(kQuery, A, d.Q);
    Matrix<float> dA = input_gradient(kQuery, d.Q);
    add_input_gradient(kKey, d.K, dA);
    add_input_gradient(kValue, d.V, dA);
    rms_norm_backward(pool_, X, weights_.attention_norm, config_.norm_epsilon, dA);
    add(pool_, dA, dX);
  }

 private:
  // As project_heads, keeping the raw projections where their norms need them.
  Heads project(const Matrix<float>& A, std::span<const int64_t> positions, Matrix<float>& raw_Q,
                Matrix<float>& raw_K) const {
    if (!config_.qk_norm)
      return project_heads(pool_, config_, rope_, weights_, length_, positions, A);
    const auto linear = [&](Linear which) {
      Matrix<float> Y(A.rows(), layer(which).weight.rows());
      layer(which).apply(pool_, length_, A, 0, Y);
      return Y;
    };
    raw_Q = linear(kQuery);
    raw_K = linear(kKey);
    Heads heads{.Q = raw_Q, .K = raw_K, .V = linear(kValue)};
    place_heads(pool_, config_, rope_, weights_.query_norm, positions, heads.Q,
                *weights_.operators);
    place_heads(pool_, config_, rope_, weights_.key_norm, positions, heads.K, *weights_.operators);
    return heads;
  }

  // X: the stream that the MLP reads; dX from behind it to before it.
  void mlp(const Matrix<float>& X, MatrixView<float> dX) {
    const Matrix<float> M = mlp_input(pool_, config_, weights_, X);
    Matrix<float> gate(M.rows(), layer(kGate).weight.rows()), up = gate;
    layer(kGate).apply(pool_, length_, M, 0, gate);
    layer(kUp).apply(pool_, length_, M, 0, up);
    {
      Matrix<float> G = gate;
      by_rows(pool_, G.rows(),
              [&](int64_t i) { weights_.operators->gate_with(G.row(i), up.row(i)); });
      weight_gradient(kDown, G, dX);
    }
    {
      const Matrix<float> dG = input_gradient(kDown, dX);
      by_rows(pool_, dG.rows(),
              [&](int64_t i) { gate_backward(gate.row(i), up.row(i), dG.row(i)); });
    }
    weight_gradient(kUp, M, up);
    weight_gradient(kGate, M, gate);
    Matrix<float> dM = input_gradient(kGate, gate);
    add_input_gradient(kUp, up, dM);
    rms_norm_backward(pool_, X, weights_.mlp_norm, config_.norm_epsilon, dM);
    add(pool_, dM, dX);
  }

  const DenseLayer& layer(Linear linear) const {
    return weights_.linear[static_cast<size_t>(linear)];
  }
  void weight_gradient(Linear linear, MatrixView<const float> X, MatrixView<const float> dY) const {
    if (gradient_) gradient_(linear, {.W = layer(linear).weight, .X = X, .dY = dY});
  }
  // dX = dY W
  Matrix<float> input_gradient(Linear linear, MatrixView<const float> dY) const {
    Matrix<float> dX(dY.rows(), layer(linear).weight.cols());
    gemm(pool_, Op::kNone, Op::kNone, 1.0F, dY, layer(linear).weight, 0.0F, dX);
    return dX;
  }
  void add_input_gradient(Linear linear, MatrixView<const float> dY, MatrixView<float> dX) const {
    gemm(pool_, Op::kNone, Op::kNone, 1.0F, dY, layer(linear).weight, 1.0F, dX);
  }

  ThreadPool& pool_;
  const ModelConfig& config_;
  const RopeTable& rope_;
  const BlockWeights& weights_;
  int64_t length_;
  const LinearGradientFn& gradient_;
};

}  // namespace

Matrix<float> LinearGradient::dW(ThreadPool& pool) const {
  Matrix<float> out(dY.cols(), X.cols());
  gemm(pool, Op::kTranspose, Op::kNone, 1.0F, dY, X, 0.0F, out);
  return out;
}

void backward_block(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                    const BlockWeights& weights, int64_t length, MatrixView<const float> X,
                    MatrixView<float> dX, const LinearGradientFn& gradient) {
  BlockBackward(pool, config, rope, weights, length, gradient).run(X, dX);
}

}  // namespace watersic
