// What the layers of a stage are quantized from: moments of their input in the original model and
// in the one quantized so far (docs/algorithm.md, "Inside a model").
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "base/threads.h"
#include "calibration/halves.h"
#include "dist/communicator.h"
#include "watersic/matrix.h"

namespace watersic {

// Means over tokens, n x n. x: input in the original model; x': in the quantized one. What is of x'
// is empty where there is one model only. What is to be mended is summed in float32: its chance is
// far above its rounding.
struct Moments {
  Matrix<double> S;            // E[x x^T]; see tokens_of_S
  Matrix<double> S_quantized;  // E[x' x'^T]
  Matrix<float> drift;         // E[(x - x') x'^T]
  // Of half of the tokens less the other half (calibration/chance.h): of S_quantized, or of S where
  // there is one model only, and of the drift.
  Matrix<double> metric_contrast;
  Matrix<float> drift_contrast;

  // S_quantized or S.
  const Matrix<double>& metric() const { return S_quantized.empty() ? S : S_quantized; }
  Matrix<double>& metric() { return S_quantized.empty() ? S : S_quantized; }
  bool empty() const { return metric().empty(); }
};

// Where tokens are weighted, the moments that are wanted of them without weights.
enum class Unweighted {
  kNone,
  kS,    // S, of the first tokens_of_S tokens: for reports, and to tell dead inputs
  kAll,  // as with weights
};

// Of so many tokens, where S is for that alone and of n inputs.
constexpr int64_t tokens_of_S(int64_t n) { return std::clamp<int64_t>(3 * n, 4096, 16384); }

struct StageStatistics {
  Moments plain;
  // Each token counted p times; divided by the number of tokens, not by the sum of p. Empty where
  // tokens were not weighted. S only where there is one model, or all moments without weights were
  // asked for.
  Moments weighted;
  // E[l x'^T], l what the outputs have lost, weighted where tokens are: outputs x n; empty where
  // not asked for.
  Matrix<float> lost, lost_contrast;
  double capture_error = 0;  // sum |x' - x|^2 / sum |x|^2 (calibration/batch_errors.h)

  const Moments& used() const { return weighted.empty() ? plain : weighted; }
  // Takes what is chance from the metric that is used (calibration/chance.h).
  void shrink(ThreadPool& pool);
};

// One batch of tokens. Of what is not wanted nothing need be there.
struct StageBatch {
  MatrixView<const float> X, X_quantized;  // tokens x n
  std::span<const float> p;                // a weight for each token
  MatrixView<const float> lost;            // l, or l + W x': tokens x outputs
  int64_t row = 0;                         // of its first among all tokens
  Half half = Half::kBoth;
};

struct MomentsWanted {
  bool two = false;       // of x' as well
  bool weighted = false;  // of tokens with weights
  bool drift = false;     // E[(x - x') x'^T], where there is an x'
  Unweighted unweighted = Unweighted::kAll;
};

// Sums over batches: products in float32, sums of S and of l in float64. What tells chance is of
// halves, which ranks share as calibration/halves.h says. The rest all make together: S, where S'
// is the metric.
class StageMoments {
 public:
  explicit StageMoments(const MomentsWanted& wanted, const Communicator& ranks = one_rank())
      : wanted_(wanted), halves_(ranks) {}

  // Whether all ranks must hear X and the weights of a batch that begins there, of n inputs.
  bool all_hear(int64_t row, int64_t n) const;
  // Whether those of its half must hear X, as they must all else that is wanted.
  bool half_hears_X() const { return !wanted_.two || wanted_.drift; }
  // In the order of the batches: X and the weights, by all ranks where all hear them; and what its
  // half's ranks hear, by these.
  void add_to_all(ThreadPool& pool, const StageBatch& batch);
  void add_to_halves(ThreadPool& pool, const StageBatch& batch);
  // Both.
  void add(ThreadPool& pool, const StageBatch& batch) {
    add_to_all(pool, batch);
    add_to_halves(pool, batch);
  }
  // By all ranks. Leaves the accumulator empty, since its matrices are large. W (outputs x n): what
  // came as lost was l + W x'.
  StageStatistics take(ThreadPool& pool, MatrixView<const float> W = {});

  const Halves& halves() const { return halves_; }

 private:
  struct HalfSums {
    StageStatistics of;
    Matrix<double> lost;
    double tokens = 0;
  };

  void add_half(ThreadPool& pool, const StageBatch& batch, HalfSums& half) const;
  void add_drift(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> Xq,
                 Matrix<float>& drift) const;
  void gather(ThreadPool& pool, int half, MatrixView<const float> W);

  MomentsWanted wanted_;
  Halves halves_;
  Matrix<double> S_, weighted_S_;  // by all ranks
  int64_t tokens_in_S_ = 0;
  std::array<HalfSums, 2> sums_;
};

}  // namespace watersic
