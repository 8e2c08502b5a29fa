// Numbers of a model that is open: logits, likelihoods, tensors, layers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "support/error_of.h"
#include "support/small_checkpoint.h"
#include "watersic/evaluate.h"
#include "watersic/model_layer.h"
#include "watersic/quantize.h"
#include "watersic/session.h"

namespace watersic {
namespace {

class ModelScores : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder("scores");
    ThreadPool pool;
    write_small_checkpoint(pool, *folder_ / "model");
    QuantizeOptions options;
    options.bits = 3;
    options.calibration.samples = 2;
    options.trellis = 0;
    options.coder = Coder::kPooled;
    options.model.basis = Basis::kPrincipal;
    quantize_model(*folder_ / "model", *folder_ / "model.wsic", options);
    std::ofstream(*folder_ / "text.txt") << text();
  }
  static void TearDownTestSuite() { delete folder_; }
  static Model open(const char* file, WeightFormat weights) {
    return Model(*folder_ / file, {.threads = 2, .weights = weights});
  }
  static std::string text() {
    std::string text;
    for (int i = 0; i < 40; ++i) text += "It was the best of times, it was the worst of times. ";
    return text;
  }

  static TestFolder* folder_;
};
TestFolder* ModelScores::folder_ = nullptr;

constexpr const char* kModels[] = {"model", "model.wsic"};

float largest_difference(const Matrix<float>& A, const Matrix<float>& B) {
  EXPECT_EQ(A.rows(), B.rows());
  EXPECT_EQ(A.cols(), B.cols());
  float largest = 0;
  for (size_t i = 0; i < A.values().size(); ++i)
    largest = std::max(largest, std::fabs(A.values()[i] - B.values()[i]));
  return largest;
}

TEST_F(ModelScores, LogitsAreWhatIsWrittenBy) {
  for (const char* file : kModels) {
    const Model model = open(file, WeightFormat::kPacked);
    Session session(model, {.sampling = {.temperature = 0}});
    session.append("It was the best");
    const std::vector<int32_t> written = session.generate(4).ids;
    const Matrix<float> logits = model.logits(session.tokens());
    ASSERT_EQ(logits.cols(), model.info().vocabulary);
    const int64_t prompt = logits.rows() - std::ssize(written);
    for (int64_t i = 0; i < std::ssize(written); ++i) {
      const auto row = logits.row(prompt - 1 + i);
      EXPECT_EQ(std::ranges::max_element(row) - row.begin(), written[static_cast<size_t>(i)]);
    }
    EXPECT_LT(largest_difference(open(file, WeightFormat::kExact).logits(session.tokens()),
                                 open(file, WeightFormat::kFloat32).logits(session.tokens())),
              0.02);
    EXPECT_EQ(model.logits({}).rows(), 0);
  }
}

TEST_F(ModelScores, OfSequencesAreThoseOfTheirLogits) {
  const Model model = open("model.wsic", WeightFormat::kFloat32);
  const std::vector<int32_t> ids = model.tokenize("It was the best of times");
  std::vector<int32_t> other = ids;
  other.back() = 7;
  const auto scores = model.score(std::vector<ScoredSequence>{{ids, 1}, {other, ids.size() - 1}});
  ASSERT_EQ(scores.size(), 2U);
  ASSERT_EQ(scores[0].size(), ids.size() - 1);
  ASSERT_EQ(scores[1].size(), 1U);
  const Matrix<float> logits = model.logits(ids);
  const auto expect = [&](const ScoredToken& score, size_t t, int32_t id) {
    const auto row = logits.row(static_cast<int64_t>(t) - 1);
    double sum = 0;
    for (const float x : row) sum += std::exp(static_cast<double>(x));
    EXPECT_NEAR(score.log_probability, row[static_cast<size_t>(id)] - std::log(sum), 1e-4);
    EXPECT_EQ(score.likeliest, std::ranges::max_element(row) - row.begin() == id);
  };
  for (size_t t = 1; t < ids.size(); ++t) expect(scores[0][t - 1], t, ids[t]);
  expect(scores[1][0], ids.size() - 1, 7);
  EXPECT_TRUE(model.score({}).empty());
}

TEST_F(ModelScores, PerplexityIsThatOfAnEvaluation) {
  for (const char* file : kModels) {
    const Model model = open(file, WeightFormat::kFloat32);
    for (const int64_t context : {0, 40}) {
      const EvaluateResult result =
          evaluate(*folder_ / file, *folder_ / "text.txt", {.context = context});
      ASSERT_GT(result.windows, 1);
      EXPECT_NEAR(model.perplexity(text(), context), result.perplexity, 1e-3 * result.perplexity);
    }
    // One window where the text has no more.
    const auto scores = model.score(std::vector<ScoredSequence>{{model.tokenize("It was so"), 1}});
    double nll = 0;
    for (const ScoredToken& score : scores[0]) nll -= score.log_probability;
    const double expected = std::exp(nll / static_cast<double>(scores[0].size()));
    EXPECT_NEAR(model.perplexity("It was so"), expected, 1e-3 * expected);
  }
}

TEST_F(ModelScores, LayersMultiplyWithTheirTensors) {
  for (const char* file : kModels) {
    const Model model = open(file, WeightFormat::kExact);
    int64_t matrices = 0;
    for (const TensorInfo& info : model.tensors()) {
      const Matrix<float> V = model.tensor(info.name);
      EXPECT_EQ(V.rows(), info.rows);
      EXPECT_EQ(V.cols(), info.cols);
      if (info.is_vector) continue;
      ++matrices;
      const ModelLayer layer(model, info.name);
      EXPECT_EQ(layer.outputs(), info.rows);
      EXPECT_EQ(layer.inputs(), info.cols);
      EXPECT_GT(layer.bytes(), 0);
      EXPECT_FALSE(layer.has_bias());
      Matrix<float> X(2, info.cols), expected(2, info.rows);
      for (int64_t i = 0; i < X.size(); ++i)
        X.values()[static_cast<size_t>(i)] = std::sin(static_cast<float>(i));
      double scale = 0;
      for (int64_t t = 0; t < 2; ++t) {
        for (int64_t k = 0; k < info.rows; ++k) {
          double sum = 0;
          for (int64_t j = 0; j < info.cols; ++j) sum += double{V(k, j)} * double{X(t, j)};
          expected(t, k) = static_cast<float>(sum);
          scale = std::max(scale, std::fabs(sum));
        }
      }
      // Of the file embedding and head are one matrix.
      const bool turned = file == std::string("model.wsic");
      if (turned && info.name == "model.embed_tokens.weight") {
        EXPECT_NE(error_of([&] { layer.apply(X); }).find("held in one with"), std::string::npos);
      } else {
        EXPECT_LT(largest_difference(layer.apply(X), expected), 1e-3 * scale) << info.name;
        EXPECT_EQ(layer.apply(Matrix<float>(0, info.cols)).rows(), 0);
      }
      if (turned && info.name == "lm_head.weight") {
        EXPECT_NE(error_of([&] { layer.rows(std::vector<int32_t>{3}); }).find("held in one with"),
                  std::string::npos);
        continue;
      }
      const Matrix<float> rows = layer.rows(std::vector<int32_t>{3, 0, 3});
      for (int64_t j = 0; j < info.cols; ++j) {
        EXPECT_NEAR(rows(0, j), V(3, j), 1e-3 * scale);
        EXPECT_NEAR(rows(1, j), V(0, j), 1e-3 * scale);
        EXPECT_EQ(rows(2, j), rows(0, j));
      }
    }
    EXPECT_GE(matrices, 15);
    EXPECT_TRUE(model.text("tokenizer.json").has_value());
    EXPECT_FALSE(model.text("nothing.json").has_value());
  }
  // Outlives its model.
  const ModelLayer layer(open("model.wsic", WeightFormat::kPacked),
                         "model.layers.1.mlp.down_proj.weight");
  EXPECT_EQ(layer.apply(Matrix<float>(1, layer.inputs())).cols(), layer.outputs());
}

TEST_F(ModelScores, WhatMakesNoSenseIsRefused) {
  const Model model = open("model.wsic", WeightFormat::kPacked);
  const auto refuses = [](const std::string& part, const std::function<void()>& run) {
    const std::string error = error_of(run);
    EXPECT_NE(error.find(part), std::string::npos) << part << ": " << error;
  };
  const std::vector<int32_t> many(200, 1);
  refuses("expected at most 128 tokens", [&] { model.logits(many); });
  refuses("below the vocabulary's 4096", [&] { model.logits(std::vector<int32_t>{4096}); });
  refuses("before those that are scored", [&] {
    model.score(std::vector<ScoredSequence>{{{1, 2}, 2}});
  });
  refuses("before those that are scored", [&] {
    model.score(std::vector<ScoredSequence>{{{1, 2}, 0}});
  });
  refuses("expected at most 128", [&] { model.score(std::vector<ScoredSequence>{{many, 1}}); });
  refuses("below the vocabulary", [&] { model.score(std::vector<ScoredSequence>{{{1, -1}, 1}}); });
  refuses("at least two tokens", [&] { model.perplexity(""); });
  refuses("at most 128, the model's", [&] { model.perplexity("It was", 129); });
  refuses("no such tensor", [&] { model.tensor("basis"); });
  refuses("no such tensor", [&] { const ModelLayer layer(model, "lm"); });
  refuses("found a vector", [&] { const ModelLayer layer(model, "model.norm.weight"); });
  const ModelLayer layer(model, "model.layers.0.self_attn.q_proj.weight");
  refuses("inputs of 128 features", [&] { layer.apply(Matrix<float>(1, 127)); });
  Matrix<float> X(2, 128);
  X(1, 5) = NAN;
  refuses("at row 1", [&] { layer.apply(X); });
  refuses("rows below 128", [&] { layer.rows(std::vector<int32_t>{128}); });
  refuses("rows below 128", [&] { layer.rows(std::vector<int32_t>{-1}); });
}

}  // namespace
}  // namespace watersic
