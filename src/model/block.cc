#include "model/block.h"

#include <algorithm>

namespace watersic {
namespace {

Matrix<float> normalized(ThreadPool& pool, const ModelConfig& config, const Block& block,
                         std::span<const float> norm, const char* what, MatrixView<const float> X) {
  Matrix<float> Y(X.rows(), X.cols());
  by_rows(pool, X.rows(), [&](int64_t i) {
    block.operators->rms_norm(X.row(i), norm, config.norm_epsilon, Y.row(i));
  });
  check_finite(pool, block.block, what, Y);
  return Y;
}

// Calls body(first row, rows, rows of a window) for parts of about `most` rows: several windows, or
// a part of one that ends where its tiles end.
void by_parts(int64_t rows, int64_t length, int64_t most,
              const std::function<void(int64_t, int64_t, int64_t)>& body) {
  static_assert(kMlpTokens % kTileTokens == 0);
  for (int64_t begin = 0, count = 0; begin < rows; begin += count) {
    count = length > most ? std::min(most, length - begin % length)
                          : std::min(most / length * length, rows - begin);
    body(begin, count, std::min(count, length));
  }
}

}  // namespace

int64_t Block::bytes() const {
  int64_t bytes = static_cast<int64_t>(sizeof(float) * (attention_norm.size() + mlp_norm.size() +
                                                        query_norm.size() + key_norm.size()));
  for (int i = 0; i < kLinears; ++i) bytes += layer(static_cast<Linear>(i)).bytes();
  return bytes;
}

void load_norms(const ModelConfig& config, const WeightSource& source, Block& block) {
  block.attention_norm = source.vector(block_tensor(block.block, "input_layernorm.weight"));
  block.mlp_norm = source.vector(block_tensor(block.block, "post_attention_layernorm.weight"));
  if (!config.qk_norm) return;
  block.query_norm = source.vector(block_tensor(block.block, "self_attn.q_norm.weight"));
  block.key_norm = source.vector(block_tensor(block.block, "self_attn.k_norm.weight"));
}

BlockWeights load_block(ThreadPool& pool, const ModelConfig& config, const WeightSource& source,
                        int64_t block) {
  BlockWeights weights;
  weights.block = block;
  const auto sites = linear_sites(config, block);
  pool.parallel_for(kLinears, [&](int64_t i) {
    const LinearSite& site = sites[static_cast<size_t>(i)];
    weights.linear[static_cast<size_t>(i)] =
        DenseLayer(source.matrix(site.name),
                   site.bias ? source.vector(site.bias_name()) : std::vector<float>());
  });
  load_norms(config, source, weights);
  return weights;
}

Matrix<float> attention_input(ThreadPool& pool, const ModelConfig& config, const Block& block,
                              MatrixView<const float> X) {
  return normalized(pool, config, block, block.attention_norm, "input of q, k, v", X);
}

Heads project_heads(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                    const Block& block, int64_t length, std::span<const int64_t> positions,
                    MatrixView<const float> A) {
  Heads heads{.Q = Matrix<float>(A.rows(), config.query_size()),
              .K = Matrix<float>(A.rows(), config.kv_size()),
              .V = Matrix<float>(A.rows(), config.kv_size())};
  block.layer(kQuery).apply(pool, length, A, 0, heads.Q);
  block.layer(kKey).apply(pool, length, A, 0, heads.K);
  block.layer(kValue).apply(pool, length, A, 0, heads.V);
  place_heads(pool, config, rope, block.query_norm, positions, heads.Q, *block.operators);
  place_heads(pool, config, rope, block.key_norm, positions, heads.K, *block.operators);
  return heads;
}

Matrix<float> attention(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                        const Block& block, int64_t length, MatrixView<const float> A,
                        std::vector<float>* received) {
  Matrix<float> H = attend(
      pool, config, length,
      project_heads(pool, config, rope, block, length, window_positions(A.rows(), length), A),
      received, *block.operators);
  check_finite(pool, block.block, "input of o", H);
  return H;
}

Matrix<float> mlp_input(ThreadPool& pool, const ModelConfig& config, const Block& block,
                        MatrixView<const float> X) {
  return normalized(pool, config, block, block.mlp_norm, "input of gate, up", X);
}

Matrix<float> mlp_hidden(ThreadPool& pool, const Block& block, int64_t length,
                         MatrixView<const float> M) {
  constexpr int64_t kUpTokens = 4 * kTileTokens;  // of which `up` is there at a time
  Matrix<float> G(M.rows(), block.layer(kGate).outputs());
  by_parts(M.rows(), length, kUpTokens, [&](int64_t begin, int64_t count, int64_t window) {
    const auto input = M.block(begin, 0, count, M.cols());
    const auto gate = G.view().block(begin, 0, count, G.cols());
    Matrix<float> up(count, G.cols());
    block.layer(kGate).apply(pool, window, input, 0, gate);
    block.layer(kUp).apply(pool, window, input, 0, up);
    by_rows(pool, count, [&](int64_t i) { block.operators->gate_with(gate.row(i), up.row(i)); });
  });
  check_finite(pool, block.block, "input of down", G);
  return G;
}

void add_linear(ThreadPool& pool, const Block& block, Linear linear, int64_t length,
                MatrixView<const float> input, MatrixView<float> X) {
  block.layer(linear).apply(pool, length, input, 1, X);
}

void forward_block(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                   const Block& block, int64_t length, Attention& attention, MatrixView<float> X,
                   const CaptureFn& capture) {
  const auto seen = [&](Capture point, const Matrix<float>& input) {
    if (capture) capture(point, input);
  };
  {
    const Matrix<float> A = attention_input(pool, config, block, X);
    seen(Capture::kQkv, A);
    const Matrix<float> H =
        attention.mix(pool, block.block,
                      project_heads(pool, config, rope, block, length, attention.positions(), A));
    check_finite(pool, block.block, "input of o", H);
    seen(Capture::kO, H);
    add_linear(pool, block, kOutput, length, H, X);
  }
  by_parts(X.rows(), length, kMlpTokens, [&](int64_t begin, int64_t count, int64_t window) {
    const auto part = X.block(begin, 0, count, X.cols());
    const Matrix<float> M = mlp_input(pool, config, block, part);
    seen(Capture::kGateUp, M);
    const Matrix<float> G = mlp_hidden(pool, block, window, M);
    seen(Capture::kDown, G);
    add_linear(pool, block, kDown, window, G, part);
  });
  check_finite(pool, block.block, "output", X);
}

void forward_block(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                   const Block& block, int64_t length, MatrixView<float> X,
                   const CaptureFn& capture) {
  WindowAttention attention(config, X.rows(), length, *block.operators);
  forward_block(pool, config, rope, block, length, attention, X, capture);
}

}  // namespace watersic
