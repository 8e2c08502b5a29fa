// What orthogonal bases of a model's layers' inputs are worth, by quantizing each layer alone with
// a scalar quantizer: one basis of the stream, or several; and for o_proj and down_proj, whose
// inputs the model does not let turn as a whole, turns that a file could hold in a few bits.
//
//   study_bases MODEL_DIR CALIBRATION.txt     CSV to standard output
//
// gain: bits a weight at equal distortion, 1/2 log2 of the ratio of distortions at equal file bits,
// over the native basis; mean over the layers of the site. side: about what telling it costs,
// in bits a weight of the layer (of the whole model for bases of the stream); at 2.9 bits an entry
// of a stored basis, log2 n + 4 a pair of columns and its angle, 3 an entry of a reflection.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <numeric>
#include <tuple>

#include "checkpoint/open_checkpoint.h"
#include "encode/encode_layer.h"
#include "linalg/blas.h"
#include "model/forward.h"
#include "pipeline/calibrate.h"
#include "pipeline/principal_axes.h"
#include "pipeline/streams.h"
#include "quant/distortion.h"
#include "watersic/error.h"

using namespace watersic;  // NOLINT: a program

namespace {

constexpr double kEntryBits = 2.9;
constexpr double kRates[] = {1, 1.5, 2, 3};

class Study {
 public:
  Study(const std::string& model, const std::string& text) : checkpoint_(open_checkpoint(model)) {
    CalibrationOptions options;
    options.source = CalibrationOptions::Source::kText;
    options.file = text;
    windows_ = calibration_windows(pool_,
                                   {.name = checkpoint_->name(),
                                    .config = config(),
                                    .weights = checkpoint_->weights(),
                                    .tokenizer = [this] { return checkpoint_->tokenizer(); }},
                                   options, 1);
    gather();
  }

  void streams() {
    const int64_t n = config().hidden;
    double all = 0;
    for (const LinearSite& site : linear_sites(config(), 0))
      all += static_cast<double>(site.rows * site.cols * config().blocks);
    const double stored = kEntryBits * static_cast<double>(n * n) / all;
    const auto half = [&](const Reader& r) { return 2 * r.block < config().blocks; };
    using Same = std::function<bool(const Reader&, const Reader&)>;
    const auto blocks = static_cast<double>(config().blocks);
    const std::tuple<const char*, double, Same> choices[] = {
        {"one", 1, [](auto&, auto&) { return true; }},
        {"two: first and second half", 2, [&](auto& a, auto& b) { return half(a) == half(b); }},
        {"two: attention and mlp", 2, [](auto& a, auto& b) { return a.mlp == b.mlp; }},
        {"one a block", blocks, [](auto& a, auto& b) { return a.block == b.block; }},
        {"one a capture point", 2 * blocks,
         [](auto& a, auto& b) { return a.block == b.block && a.mlp == b.mlp; }}};
    for (const double rate : kRates) {
      std::map<std::string, double> gain;
      double weights = 0;
      for (const Reader& reader : readers_) {
        const double native = log_distortion(reader.W, reader.S, rate);
        weights += static_cast<double>(reader.W.size());
        for (const auto& [name, count, same] : choices) {
          Matrix<double> sum(n, n);
          for (const Reader& other : readers_)
            if (same(reader, other)) add(other, sum);
          gain[name] += static_cast<double>(reader.W.size()) / 2 *
                        (native - turned(reader.W, reader.S, falling(sum), rate));
        }
      }
      for (const auto& [name, count, same] : choices)
        print("readers of the stream", name, rate, gain[name] / weights, count * stored);
    }
  }

  void inputs() {
    const auto rotation =
        principal_axes(pool_, config(), checkpoint_->weights(), windows_).rotation;
    for (const bool down : {false, true}) {
      const auto& layers = down ? down_ : o_;
      const int64_t n = layers.front().S.cols();
      const auto rows = static_cast<double>(layers.front().W.rows());
      for (const double rate : {1.0, 2.0}) {
        std::map<std::string, std::pair<double, double>> found;
        for (const Reader& layer : layers) {
          const double native = log_distortion(layer.W, layer.S, rate);
          const auto with = [&](const std::string& name, const Matrix<double>& Q, double side) {
            auto& [gain, bits] = found[name];
            gain += (native - turned(layer.W, layer.S, Q, rate)) / 2 /
                    static_cast<double>(layers.size());
            bits = side;
          };
          const Matrix<double> own = falling(layer.S);
          with("own eigenbasis", own, kEntryBits * static_cast<double>(n) / rows);
          Matrix<double> base = identity(n);
          if (!down) {
            base = head_basis(rotation.heads[static_cast<size_t>(layer.block)]);
            with("heads", base, 0);
          }
          with(down ? "falling order" : "heads in falling order", ordered(layer.S, base), 0);
          const double pair = (std::log2(static_cast<double>(n)) + 4) / 2 / rows;
          for (const int rounds : {1, 4})
            with(fmt::format("{} rounds of pairs", rounds),
                 ordered(layer.S, paired(layer.S, base, rounds)), rounds * pair);
          if (!down) continue;
          for (const int count : {4, 16})
            with(fmt::format("{} reflections", count), reflected(layer.S, own, count),
                 3.0 * count / rows);
        }
        for (const auto& [name, gain] : found)
          print(down ? "down_proj" : "o_proj", name.c_str(), rate, gain.first, gain.second);
      }
    }
  }

 private:
  struct Reader {
    int64_t block = 0;
    bool mlp = false;
    Matrix<double> W, S;
  };
  const ModelConfig& config() const { return checkpoint_->config(); }

  void print(const char* site, const char* basis, double rate, double gain, double side) const {
    std::cout << fmt::format("{},{},{},{},{:.4f},{:.4f}\n",
                             std::filesystem::path(checkpoint_->name()).filename().string(), site,
                             basis, rate, gain, side);
  }

  // Layers in the coordinates behind a norm without gains, and their inputs' second moments.
  void gather() {
    Streams streams(pool_, config(), static_cast<int64_t>(windows_.front().size()),
                    embed_windows(config(), checkpoint_->weights(), windows_), false);
    for (int64_t block = 0; block < config().blocks; ++block) {
      const BlockWeights weights = load_block(pool_, config(), checkpoint_->weights(), block);
      streams.begin_block(weights);
      const auto reader = [&](Capture stage, std::initializer_list<Linear> linears,
                              const std::vector<float>* gain) {
        Reader out{.block = block, .mlp = stage == Capture::kGateUp, .W = {}, .S = {}};
        out.S = streams.statistics(stage, {}).plain.S;
        int64_t rows = 0;
        for (const Linear l : linears) rows += weights.linear[l].weight.rows();
        out.W = Matrix<double>(rows, out.S.cols());
        rows = 0;
        for (const Linear l : linears) {
          const Matrix<float>& W = weights.linear[l].weight;
          for (int64_t k = 0; k < W.rows(); ++k, ++rows)
            for (int64_t j = 0; j < W.cols(); ++j)
              out.W(rows, j) = (gain ? (*gain)[static_cast<size_t>(j)] : 1.0F) * W(k, j);
        }
        for (int64_t i = 0; gain != nullptr && i < out.S.rows(); ++i)
          for (int64_t j = 0; j < out.S.cols(); ++j)
            out.S(i, j) /= static_cast<double>((*gain)[static_cast<size_t>(i)]) *
                           static_cast<double>((*gain)[static_cast<size_t>(j)]);
        return out;
      };
      readers_.push_back(reader(Capture::kQkv, {kQuery, kKey, kValue}, &weights.attention_norm));
      o_.push_back(reader(Capture::kO, {kOutput}, nullptr));
      readers_.push_back(reader(Capture::kGateUp, {kGate, kUp}, &weights.mlp_norm));
      down_.push_back(reader(Capture::kDown, {kDown}, nullptr));
      streams.end_block();
    }
  }

  Matrix<double> product(Op a, const Matrix<double>& A, const Matrix<double>& B) {
    Matrix<double> C(a == Op::kNone ? A.rows() : A.cols(), B.cols());
    gemm(pool_, a, Op::kNone, 1.0, A, B, 0.0, C);
    return C;
  }
  Matrix<double> metric_in(const Matrix<double>& S, const Matrix<double>& Q) {
    return product(Op::kTranspose, Q, product(Op::kNone, S, Q));
  }

  // log2 of the distortion at this rate, as if it had been met exactly.
  double log_distortion(const Matrix<double>& W, const Matrix<double>& S, double rate) {
    Matrix<float> narrow(W.rows(), W.cols());
    for (size_t i = 0; i < W.values().size(); ++i)
      narrow.values()[i] = static_cast<float>(W.values()[i]);
    const EncodedLayer layer = encode_layer(pool_, {.W = narrow, .S = S},
                                            {.bits = rate, .dead_threshold = 0, .trellis = 0});
    return std::log2(layer.distortion) + 2 * (layer.bits.file - rate);
  }
  double turned(const Matrix<double>& W, const Matrix<double>& S, const Matrix<double>& Q,
                double rate) {
    return log_distortion(product(Op::kNone, W, Q), metric_in(S, Q), rate);
  }

  static Matrix<double> identity(int64_t n) {
    Matrix<double> I(n, n);
    for (int64_t i = 0; i < n; ++i) I(i, i) = 1;
    return I;
  }
  // Columns: eigenvectors by falling eigenvalue.
  static Matrix<double> falling(const Matrix<double>& S) {
    const SymmetricEigen eigen = symmetric_eigen(S);
    const int64_t n = S.rows();
    Matrix<double> Q(n, n);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) Q(i, j) = eigen.vectors(n - 1 - j, i);
    return Q;
  }
  // Q's columns by falling variance.
  Matrix<double> ordered(const Matrix<double>& S, const Matrix<double>& Q) {
    const Matrix<double> T = metric_in(S, Q);
    std::vector<int64_t> order(static_cast<size_t>(Q.cols()));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return T(a, a) > T(b, b); });
    Matrix<double> out(Q.rows(), Q.cols());
    for (int64_t i = 0; i < Q.rows(); ++i)
      for (int64_t j = 0; j < Q.cols(); ++j) out(i, j) = Q(i, order[static_cast<size_t>(j)]);
    return out;
  }
  static void add(const Reader& reader, Matrix<double>& sum) {
    double trace = 0, energy = 0;
    for (int64_t i = 0; i < sum.rows(); ++i) trace += reader.S(i, i);
    for (const double w : reader.W.values()) energy += w * w;
    for (size_t i = 0; i < sum.values().size(); ++i)
      sum.values()[i] += energy / trace * reader.S.values()[i];
  }
  Matrix<double> head_basis(const std::vector<Matrix<float>>& axes) const {
    const int64_t d = config().head_dim, sharing = config().heads / config().kv_heads;
    Matrix<double> Q(config().heads * d, config().heads * d);
    for (int64_t h = 0; h < config().heads; ++h)
      for (int64_t i = 0; i < d; ++i)
        for (int64_t j = 0; j < d; ++j)
          Q(h * d + i, h * d + j) = axes[static_cast<size_t>(h / sharing)](i, j);
    return Q;
  }
  // Each round: the most correlated pairs of columns, each column in one, turned until they are
  // not.
  Matrix<double> paired(const Matrix<double>& S, Matrix<double> Q, int rounds) {
    const int64_t n = S.rows();
    for (int round = 0; round < rounds; ++round) {
      const Matrix<double> T = metric_in(S, Q);
      std::vector<std::tuple<double, int64_t, int64_t>> pairs;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < i; ++j)
          pairs.emplace_back(std::fabs(T(i, j)) / std::sqrt(T(i, i) * T(j, j)), i, j);
      std::sort(pairs.rbegin(), pairs.rend());
      std::vector<bool> used(static_cast<size_t>(n));
      for (const auto& [correlation, i, j] : pairs) {
        if (used[static_cast<size_t>(i)] || used[static_cast<size_t>(j)]) continue;
        used[static_cast<size_t>(i)] = used[static_cast<size_t>(j)] = true;
        const double angle = 0.5 * std::atan2(2 * T(i, j), T(i, i) - T(j, j)), c = std::cos(angle),
                     s = std::sin(angle);
        for (int64_t k = 0; k < n; ++k) {
          const double x = Q(k, i), y = Q(k, j);
          Q(k, i) = c * x + s * y;
          Q(k, j) = -s * x + c * y;
        }
      }
    }
    return Q;
  }
  // Householder reflections that take the strongest columns to the first eigenvectors.
  Matrix<double> reflected(const Matrix<double>& S, const Matrix<double>& eigenvectors, int count) {
    const int64_t n = S.rows();
    const Matrix<double> P = ordered(S, identity(n));
    Matrix<double> A = product(Op::kTranspose, P, eigenvectors), Q = identity(n);
    std::vector<std::vector<double>> mirrors;
    const auto reflect = [&](const std::vector<double>& h, Matrix<double>& M, int64_t columns) {
      for (int64_t c = 0; c < columns; ++c) {
        double dot = 0;
        for (int64_t i = 0; i < n; ++i) dot += h[static_cast<size_t>(i)] * M(i, c);
        for (int64_t i = 0; i < n; ++i) M(i, c) -= 2 * dot * h[static_cast<size_t>(i)];
      }
    };
    for (int64_t j = 0; j < count; ++j) {
      std::vector<double> h(static_cast<size_t>(n));
      double square = 0, norm = 0;
      for (int64_t i = j; i < n; ++i) {
        h[static_cast<size_t>(i)] = A(i, j);
        square += A(i, j) * A(i, j);
      }
      h[static_cast<size_t>(j)] += (A(j, j) > 0 ? 1 : -1) * std::sqrt(square);
      for (const double x : h) norm += x * x;
      for (double& x : h) x /= std::sqrt(norm);
      reflect(h, A, count);
      mirrors.push_back(std::move(h));
    }
    for (size_t j = mirrors.size(); j-- > 0;) reflect(mirrors[j], Q, n);
    return product(Op::kNone, P, Q);
  }

  ThreadPool pool_{2};
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<std::vector<int32_t>> windows_;
  std::vector<Reader> readers_, o_, down_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: study_bases MODEL_DIR CALIBRATION.txt\n";
    return 2;
  }
  try {
    Study study(argv[1], argv[2]);
    study.streams();
    study.inputs();
  } catch (const std::exception& e) {
    std::cerr << "study_bases: " << e.what() << '\n';
    return 1;
  }
  return 0;
}
