// In its principal basis a model's statistics are diagonal and fall.
#include "pipeline/principal_axes.h"

#include <gtest/gtest.h>

#include "linalg/blas.h"
#include "model/forward.h"
#include "support/tiny_models.h"

namespace watersic {
namespace {

TEST(PrincipalAxes, AreOrthogonalAndOrderTheSpreadOfWhatIsRead) {
  ThreadPool pool(2);
  const ModelConfig config = parse_config(tiny_config("llama"), "config.json");
  const MemorySource source = random_model(config, 1);
  const auto windows = random_windows(config, 8, 64, 3);
  const Rotation axes = principal_axes(pool, config, source, windows).rotation;
  const auto expect_orthogonal = [&](const Matrix<float>& Q) {
    Matrix<double> gram(Q.cols(), Q.cols());
    add_gram(pool, Q, gram);
    for (int64_t i = 0; i < gram.rows(); ++i)
      for (int64_t j = 0; j < gram.cols(); ++j) EXPECT_NEAR(gram(i, j), i == j, 1e-5);
  };
  expect_orthogonal(axes.stream);
  ASSERT_EQ(axes.heads.size(), static_cast<size_t>(config.blocks));
  for (const auto& heads : axes.heads) {
    ASSERT_EQ(heads.size(), static_cast<size_t>(config.kv_heads));
    for (const Matrix<float>& Q : heads) expect_orthogonal(Q);
  }

  // The same axes again, from the rotated model: nothing is left to turn.
  const RotatedSource rotated(pool, config, source, axes);
  const Rotation again =
      principal_axes(pool, rotated_config(config, axes), rotated, windows).rotation;
  const auto expect_identity = [](const Matrix<float>& Q) {
    for (int64_t i = 0; i < Q.rows(); ++i)
      for (int64_t j = 0; j < Q.cols(); ++j) EXPECT_NEAR(Q(i, j), i == j, 0.02);
  };
  expect_identity(again.stream);
  for (const auto& heads : again.heads)
    for (const Matrix<float>& Q : heads) expect_identity(Q);
}

}  // namespace
}  // namespace watersic
