// A rotated model is the same function.
#include "model/rotated_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "linalg/blas.h"
#include "model/forward.h"
#include "support/tiny_models.h"

namespace watersic {
namespace {

// Eigenvectors of a random symmetric matrix.
Matrix<float> random_orthogonal(int64_t n, Rng& rng) {
  Matrix<double> A(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j <= i; ++j) A(i, j) = A(j, i) = rng.normal();
  const Matrix<double> vectors = symmetric_eigen(std::move(A)).vectors;
  Matrix<float> Q(n, n);
  std::ranges::transform(vectors.values(), Q.values().begin(),
                         [](double x) { return static_cast<float>(x); });
  return Q;
}

class RotatedModel : public ::testing::TestWithParam<std::string> {
 protected:
  Rotation rotation(bool stream, bool heads) {
    Rng rng(5);
    Rotation out;
    if (stream) out.stream = random_orthogonal(config_.hidden, rng);
    for (int64_t block = 0; heads && block < config_.blocks; ++block) {
      out.heads.emplace_back();
      for (int64_t head = 0; head < config_.kv_heads; ++head)
        out.heads.back().push_back(random_orthogonal(config_.head_dim, rng));
    }
    return out;
  }
  Matrix<float> logits(const ModelConfig& config, const WeightSource& source) {
    const auto windows = random_windows(config, 2, 40, 2);
    return OutputHead(config, source).logits(pool_, forward_all(pool_, config, source, windows));
  }

  ThreadPool pool_{2};
  ModelConfig config_ = parse_config(tiny_config(GetParam()), "config.json");
  MemorySource source_ = random_model(config_, 1);
};
INSTANTIATE_TEST_SUITE_P(Architectures, RotatedModel, ::testing::ValuesIn(tiny_kinds()),
                         [](const auto& test) { return test.param; });

TEST_P(RotatedModel, HasTheLogitsOfTheOriginal) {
  const Matrix<float> expected = logits(config_, source_);
  for (const auto& [stream, heads] : {std::pair(true, true), {true, false}, {false, true}}) {
    const Rotation turned = rotation(stream, heads);
    const RotatedSource source(pool_, config_, source_, turned);
    const ModelConfig config = rotated_config(config_, turned);
    EXPECT_EQ(config.tied_embeddings, !stream && config_.tied_embeddings);
    ASSERT_NO_THROW(check_tensors(config, source));
    const Matrix<float> found = logits(config, source);
    double error = 0, size = 0;
    for (size_t i = 0; i < found.values().size(); ++i) {
      const double x = expected.values()[i], y = found.values()[i];
      error += (x - y) * (x - y);
      size += x * x;
    }
    EXPECT_LT(std::sqrt(error / size), 1e-5) << "stream " << stream << ", heads " << heads;
    // The blocks first, with one matrix for embedding and head as ever, then the ends.
    const RotatedSource blocks(pool_, config_, source_, turned, RotatedPart::kBlocks);
    ASSERT_NO_THROW(check_tensors(config_, blocks));
    const RotatedSource whole(pool_, config_, blocks, turned, RotatedPart::kEnds);
    ASSERT_NO_THROW(check_tensors(config, whole));
    EXPECT_TRUE(std::ranges::equal(found.values(), logits(config, whole).values()));
    // And it is not the same weights.
    EXPECT_FALSE(
        std::ranges::equal(source.matrix("model.layers.0.self_attn.o_proj.weight").values(),
                           source_.matrix("model.layers.0.self_attn.o_proj.weight").values()));
  }
}

TEST_P(RotatedModel, RowsAreThoseOfTheMatrix) {
  const Rotation turned = rotation(true, true);
  const RotatedSource source(pool_, config_, source_, turned);
  for (const ModelTensor& tensor : model_tensors(rotated_config(config_, turned))) {
    std::vector<int32_t> all(static_cast<size_t>(tensor.shape.rows));
    std::iota(all.begin(), all.end(), 0);
    const Matrix<float> whole = source.matrix(tensor.name), rows = source.rows(tensor.name, all);
    ASSERT_EQ(rows.rows(), whole.rows()) << tensor.name;
    for (size_t i = 0; i < rows.values().size(); ++i)
      ASSERT_NEAR(rows.values()[i], whole.values()[i], 1e-5) << tensor.name;
  }
}

}  // namespace
}  // namespace watersic
