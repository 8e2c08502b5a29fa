// The parts of the pass: the plan, the budget, the mixing search.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "pipeline/budget.h"
#include "pipeline/embeddings.h"
#include "pipeline/gradient_shares.h"
#include "pipeline/mixing.h"
#include "pipeline/model_options.h"
#include "pipeline/plan.h"
#include "pipeline/report.h"
#include "pipeline/sensitivity.h"
#include "support/error_of.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"

namespace watersic {
namespace {

TEST(Budget, SpendsAllOfItWhateverEachLayerMisses) {
  Rng rng(1);
  const std::vector<int64_t> sizes{1000, 5000, 200, 3000, 800};
  RateBudget budget(2.0, 10'000, 0, 0);
  double spent = 0;
  for (const int64_t size : sizes) {
    // All but the last miss their target by some percent.
    const double rate = budget.rate(size, 0);
    const double real = size == sizes.back() ? rate : rate * (1 + 0.05 * rng.normal());
    budget.spent(size, real);
    spent += real * static_cast<double>(size);
  }
  EXPECT_NEAR(spent / 10'000, 2.0, 1e-12);
}

TEST(Budget, DeadWeightsCostNothingAndFixedLayersTakeNoPart) {
  const RateBudget half_dead(2.0, 1000, 0, 0);
  EXPECT_DOUBLE_EQ(half_dead.rate(1000, 500), 2.0);  // twice as much for each live one
  EXPECT_DOUBLE_EQ(RateBudget(2.0, 1000, 500, 500 * 3.0).rate(500, 0), 1.0);
  EXPECT_DOUBLE_EQ(RateBudget(2.0, 1000, 500, 500 * 16.0).rate(500, 0), 0.05);  // no less
}

TEST(Budget, OffsetsMoveBitsFromLayerToLayer) {
  RateBudget budget(2.0, 400, 0, 0);
  EXPECT_DOUBLE_EQ(budget.rate(100, 0, 1.5), 3.5);
  budget.spent(100, 3.5, 1.5);
  EXPECT_DOUBLE_EQ(budget.rate(300, 0, -0.5), 1.5);
  budget.spent(300, 1.5, -0.5);
  EXPECT_DOUBLE_EQ(budget.average(), 0);
}

// Layers of some sizes whose KL is K 2^(-slope bits).
TEST(Sensitivity, SharesMakeTheLeastOfTheKl) {
  Rng rng(9);
  std::vector<LayerSensitivity> layers(6);
  std::vector<double> K, floors(6);
  for (size_t l = 0; l < 6; ++l) {
    K.push_back(std::exp2(3 * rng.normal()));
    layers[l].weights = 1000 * static_cast<int64_t>(l + 1);
    layers[l].bits = {1.75, 2.75};
    layers[l].slope = 1.5 + 0.25 * static_cast<double>(l);
    for (const double bits : layers[l].bits)
      layers[l].kl_bits.push_back(K[l] * std::exp2(-layers[l].slope * bits));
  }
  share_by_sensitivity(layers, 2, floors);
  const auto total = [&](const std::vector<double>& shares) {
    double kl = 0;
    for (size_t l = 0; l < 6; ++l) kl += K[l] * std::exp2(-layers[l].slope * shares[l]);
    return kl;
  };
  std::vector<double> shares;
  double spent = 0;
  for (const LayerSensitivity& layer : layers) {
    shares.push_back(layer.share);
    spent += layer.share * static_cast<double>(layer.weights);
    EXPECT_GE(layer.share, 1);
    EXPECT_LE(layer.share, 5);
  }
  EXPECT_NEAR(spent, 2 * 21'000, 1e-6);
  EXPECT_LT(total(shares), total(std::vector<double>(6, 2.0)));
  // No bits go from one to another with profit, where shares are inside their bounds.
  for (size_t from = 0; from < 6; ++from) {
    for (size_t to = 0; to < 6; ++to) {
      std::vector<double> moved = shares;
      moved[from] -= 0.01 / static_cast<double>(from + 1);
      moved[to] += 0.01 / static_cast<double>(to + 1);
      if (moved[from] < 1 || moved[to] > 5) continue;
      EXPECT_GE(total(moved), total(shares) * (1 - 1e-9)) << from << " to " << to;
    }
  }
  floors[5] = 2.5;
  share_by_sensitivity(layers, 2, floors);
  EXPECT_GE(layers[5].share, 2.5);
}

TEST(Sensitivity, IsReadBackOrRefused) {
  const LayerSensitivity layer{.name = "a", .weights = 32, .bits = {2, 3}, .kl_bits = {0.1, 0.05}};
  Json json = sensitivities_json({layer});
  EXPECT_EQ(sensitivities_from_json(json, "x").at(0).kl_bits, layer.kl_bits);
  json[0]["kl_bits"] = {Json::array()};
  const std::string error = error_of([&] { sensitivities_from_json(json, "x"); });
  EXPECT_NE(error.find("kl_bits: expected numbers, found array"), std::string::npos) << error;
}

TEST(Sensitivity, WaterFillsThePartsOfAllLayers) {
  // The second layer's errors count 2^4.8 times as much: two bits more.
  std::vector<LayerParts> parts{
      {.inputs = {1, 0.5}, .outputs = {1, 2}},
      {.inputs = {std::exp2(4.8), 0.5 * std::exp2(4.8)}, .outputs = {1, 2}}};
  std::vector<LayerSensitivity> layers(2);
  layers[0].weights = layers[1].weights = 100;
  const std::vector<double> floors(2);
  fill_water(parts, 3, floors, layers);
  EXPECT_NEAR(layers[0].share, 2, 1e-6);
  EXPECT_NEAR(layers[1].share, 4, 1e-6);
  EXPECT_NEAR(layers[0].kl_bits[0], layers[1].kl_bits[0], 1e-9);
  // Parts under the water take nothing.
  parts[0].inputs = {1, 1e-30};
  fill_water(parts, 3, floors, layers);
  EXPECT_NEAR(layers[0].share + layers[1].share, 6, 1e-6);
  EXPECT_LT(layers[0].share, 2);
}

// A matrix that is not among the weights that share stands in the same water, and takes nothing
// from them.
TEST(Water, OpenMatricesFollowTheLayers) {
  const std::vector<LayerParts> parts = {
      {{1}, {1}}, {{std::exp2(4.8)}, {1}}, {{std::exp2(7.2)}, {1}}};
  std::vector<LayerSensitivity> layers(3);
  layers[0].weights = layers[1].weights = 100;
  layers[2].weights = 50;
  std::vector<double> floors(3);
  fill_water(parts, 3, floors, layers, 2);
  EXPECT_NEAR(layers[0].share, 2, 1e-6);
  EXPECT_NEAR(layers[1].share, 4, 1e-6);
  EXPECT_NEAR(layers[2].share, 5, 1e-6);
  fill_water(parts, 3, floors, layers);
  EXPECT_NEAR((100 * (layers[0].share + layers[1].share) + 50 * layers[2].share) / 250, 3, 1e-6);
  EXPECT_NEAR(layers[2].share - layers[0].share, 3, 1e-6);
  // With half the slope the water is twice as high: the level is 2^-4.8 for layers.
  std::vector<LayerParts> flat = parts;
  flat[2] = {.inputs = {1}, .outputs = {1}, .slope = 1.2};
  fill_water(flat, 3, floors, layers, 2);
  EXPECT_NEAR(layers[0].share, 2, 1e-6);
  EXPECT_NEAR(layers[2].share, (4.8 - 1) / 1.2, 1e-6);
  EXPECT_NEAR(layers[2].kl_bits[0], 50 * std::exp2(-3.8), 1e-6);
  floors[2] = 5.5;
  fill_water(parts, 3, floors, layers, 2);
  EXPECT_EQ(layers[2].share, 5.5);
}

// The embedding's row weights hold the mean of S, a head's don't: a problem of both kinds with the
// same cost a row has the same parts.
TEST(Water, PartsOfRowsAreTheCostOfTheirErrors) {
  ThreadPool pool(1);
  Matrix<double> S(2, 2), weights(1, 3);
  S(0, 0) = 3;
  S(1, 1) = 1;
  for (int64_t v = 0; v < 3; ++v) weights(0, v) = 0.5 * static_cast<double>(v + 1);
  const LayerParts head = parts_of_rows(pool, 4, S, weights, false);
  for (double& w : weights.values()) w *= 2;  // the mean of S
  const LayerParts both = parts_of_rows(pool, 4, S, weights, true);
  ASSERT_EQ(head.inputs.size(), 2U);
  ASSERT_EQ(head.outputs.size(), 3U);
  for (size_t i = 0; i < 2; ++i)
    for (size_t k = 0; k < 3; ++k) {
      EXPECT_NEAR(both.inputs[i] * both.outputs[k], head.inputs[i] * head.outputs[k], 1e-12);
      // 1/2 h_v S_ii E[w^2], in bits; parts are sorted.
      EXPECT_NEAR(head.inputs[i] * head.outputs[k],
                  0.5 * (i == 0 ? 1 : 3) * 0.5 * static_cast<double>(k + 1) * 4 / std::log(2.0),
                  0.01);
    }
}

TEST(Plan, OverridesAndKeptLayers) {
  const ModelConfig config = parse_config(small_config(), "small");
  QuantizeOptions options;
  options.overrides = {"q_proj:bits=4,trellis=8", "layers.(?:1).*q_proj:trellis=0,lmmse=on"};
  options.keep = {"v_proj"};
  const auto plan = plan_layers(config, options);
  ASSERT_EQ(plan.size(), 2U);
  for (int64_t block = 0; block < 2; ++block) {
    for (const LayerPlan& layer : plan[static_cast<size_t>(block)]) {
      EXPECT_EQ(layer.keep, layer.site.linear == kValue);
      EXPECT_EQ(layer.fixed, layer.site.linear == kValue || layer.site.linear == kQuery);
      if (layer.site.linear != kQuery) continue;
      EXPECT_EQ(layer.options.bits, 4);
      EXPECT_EQ(layer.options.trellis, block == 0 ? 8 : 0);
      EXPECT_EQ(layer.options.lmmse, block == 0 ? std::nullopt : std::optional(true));
    }
  }
}

TEST(Plan, ErrorsSayWhatIsWrong) {
  const ModelConfig config = parse_config(small_config(), "small");
  const auto error = [&](const std::string& text) {
    QuantizeOptions options;
    options.overrides = {text};
    return error_of([&] { plan_layers(config, options); });
  };
  EXPECT_NE(error("q_proj").find("expected REGEX:name=value"), std::string::npos);
  EXPECT_NE(error("q_proj:bits").find("found 'bits'"), std::string::npos);
  EXPECT_NE(error("q_proj:bits=many").find("expected a number, found 'many'"), std::string::npos);
  EXPECT_NE(error("q_proj:lmmse=1").find("expected on or off"), std::string::npos);
  EXPECT_NE(error("q_proj:coder=best").find("expected classes or pooled"), std::string::npos);
  EXPECT_NE(error("(:bits=2").find("regular expression"), std::string::npos);
  EXPECT_NE(error("q_proj:method=rtn,bits=2.5").find("q_proj"), std::string::npos);
  EXPECT_NE(error("x_proj:bits=2").find("matches no layer"), std::string::npos);
  for (const char* rows : {"0.gate_proj", "x.gate_proj:1", "0.down_proj:1", "2.up_proj:0",
                           "0.up_proj:192", "0.up_proj:-1", "0.up_proj:1,"})
    EXPECT_NE(error_of([&] { parse_zero_rows(rows, config); }).find("zero-rows '"),
              std::string::npos)
        << rows;
  const ZeroRows rows = parse_zero_rows("0.gate_proj:3,4;1.up_proj:191", config);
  EXPECT_EQ(rows.at(0), (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(rows.at(1), (std::vector<int64_t>{191}));
}

TEST(ModelOptions, AreWhatTheMethodCanUse) {
  QuantizeOptions options;
  ModelOptions resolved = resolved_model_options(options);
  EXPECT_TRUE(*resolved.drift && *resolved.residual && *resolved.token_weighting);
  EXPECT_FALSE(*resolved.attention_weighting || *resolved.mixing);
  options.model.output_metric = false;
  resolved = resolved_model_options(options);
  EXPECT_TRUE(*resolved.attention_weighting);
  EXPECT_FALSE(*resolved.token_weighting);
  options.model.token_weighting = true;
  EXPECT_TRUE(*resolved_model_options(options).token_weighting);
  options.model = {.drift = false};
  resolved = resolved_model_options(options);
  EXPECT_TRUE(*resolved.token_weighting);
  EXPECT_FALSE(*resolved.drift || *resolved.residual || *resolved.mixing);
  options.model.residual = true;
  EXPECT_THROW(resolved_model_options(options), Error);
  options.model = {};
  options.method = Method::kHuffmanGptq;
  resolved = resolved_model_options(options);
  EXPECT_TRUE(*resolved.drift);
  EXPECT_FALSE(*resolved.residual || *resolved.attention_weighting || *resolved.mixing ||
               *resolved.token_weighting);
  options.model.mixing = true;
  EXPECT_THROW(resolved_model_options(options), Error);
  options.model = {};
  options.calibration.source = CalibrationOptions::Source::kNone;
  EXPECT_FALSE(*resolved_model_options(options).drift);
}

template <class T>
Matrix<T> constant(T value) {
  Matrix<T> M(2, 2);
  for (T& x : M.values()) x = value;
  return M;
}

TEST(Mixing, IsTheFormula) {
  StageStatistics statistics;
  statistics.plain = {.S = constant(1.0), .S_quantized = constant(2.0), .drift = constant(3.0F)};
  statistics.weighted = {
      .S = constant(10.0), .S_quantized = constant(20.0), .drift = constant(30.0F)};
  const double e_q = 0.25, e_a = 0.4;
  const Moments out = mixed(statistics, e_q, e_a);
  EXPECT_NEAR(out.S(0, 1), 0.6 * 10 + 0.4 * 1, 1e-12);
  EXPECT_NEAR(out.S_quantized(0, 1), 0.6 * (0.75 * 20 + 0.25 * 10) + 0.4 * (0.75 * 2 + 0.25 * 1),
              1e-12);
  EXPECT_NEAR(out.drift(0, 1), 0.75 * (0.6 * 30 + 0.4 * 3), 1e-5);
  statistics.weighted = {};
  EXPECT_NEAR(mixed(statistics, e_q, 0).drift(1, 0), 0.75 * 3, 1e-6);
}

TEST(Mixing, TheSearchFindsTheLeastErrorAndKeepsEveryPoint) {
  const auto bowl = [](double e_q, double e_a) {
    return 1 + (e_q - 0.3) * (e_q - 0.3) + (e_a - 0.8) * (e_a - 0.8);
  };
  const MixingReport both = search_mixing(true, true, 15, bowl);
  EXPECT_NEAR(both.e_q, 0.3, 1e-3);
  EXPECT_NEAR(both.e_a, 0.8, 1e-3);
  EXPECT_EQ(both.points.size(), 2U * 18 - 1);  // e_a = 0 is known when its turn comes
  EXPECT_EQ(both.points[0].e_q, 0);
  EXPECT_EQ(both.points[1].e_q, 1);
  for (const MixingPoint& p : both.points) EXPECT_GE(p.error, bowl(both.e_q, both.e_a));
  // An end that is best is found, too; and without steps there are the ends and the middle.
  EXPECT_EQ(search_mixing(true, false, 15, [](double e, double) { return e; }).e_q, 0);
  EXPECT_EQ(search_mixing(true, false, 15, [](double e, double) { return -e; }).e_q, 1);
  EXPECT_EQ(search_mixing(true, false, 0, bowl).e_q, 0.5);
  EXPECT_TRUE(search_mixing(false, false, 15, bowl).points.empty());
}

TEST(Embeddings, TheirBitsFollowTheLayers) {
  Json json = small_config();
  const ModelConfig tied = parse_config(json, "config.json");
  json["tie_word_embeddings"] = false;
  const ModelConfig two = parse_config(json, "config.json");
  const auto resolved = [](const ModelConfig& config, double bits, QuantizeOptions options) {
    resolve_embedding_bits(config, open_embedding_bits(options, bits), options);
    return std::pair(options.embedding_bits.value(), options.head_bits.value());
  };
  using Rates = std::pair<double, double>;
  EXPECT_EQ(resolved(two, 1.5, {}), Rates(4.5, 4.5));
  EXPECT_EQ(resolved(two, 7, {}), Rates(10, 10));
  EXPECT_EQ(resolved(two, 7.5, {}), Rates(16, 16));
  QuantizeOptions some;
  some.head_bits = 4;
  EXPECT_EQ(resolved(two, 2, some), Rates(5, 4));
  EXPECT_EQ(resolved(tied, 2, some), Rates(4, 4));
  some.head_bits = 16;
  EXPECT_EQ(resolved(tied, 2, some), Rates(16, 16));
  QuantizeOptions rival;
  rival.method = Method::kHuffmanGptq;
  EXPECT_EQ(resolved(two, 2, rival), Rates(16, 16));

  // What a file with a size leaves.
  const auto matrix = static_cast<double>(tied.vocabulary * tied.hidden);
  const auto shared = [](const ModelConfig& config, const QuantizeOptions& options, double left) {
    const SharedBits bits = bits_in_file(config, options, left, 1000);
    return std::pair(bits.layers, bits.if_open);
  };
  EXPECT_EQ(shared(tied, {}, 2000 + 5 * matrix), Rates(2, 5));
  EXPECT_EQ(shared(two, {}, 2000 + 2 * 5 * matrix), Rates(2, 5));
  EXPECT_EQ(shared(tied, rival, 2000 + 16 * matrix), Rates(2, 16));
  EXPECT_EQ(shared(tied, some, 2000).first, 2);  // the one has its own
  EXPECT_EQ(shared(tied, {}, 7000 + 10 * matrix), Rates(7, 10));
  EXPECT_EQ(shared(tied, {}, 7500 + 10 * matrix), Rates(7.5, 10));
  EXPECT_EQ(shared(tied, {}, 8000 + 16 * matrix), Rates(8, 16));
}

TEST(Embeddings, ATiedMatrixIsOne) {
  Json json = small_config();
  const ModelConfig tied = parse_config(json, "config.json");
  json["tie_word_embeddings"] = false;
  const ModelConfig two = parse_config(json, "config.json");
  QuantizeOptions options;
  EXPECT_TRUE(plan_embeddings(tied, options).empty());
  options.embedding_bits = 16;
  EXPECT_TRUE(plan_embeddings(two, options).empty());
  options = {};
  options.head_bits = 4;
  auto plan = plan_embeddings(tied, options);
  ASSERT_EQ(plan.size(), 1U);
  EXPECT_EQ(plan[0].name, kEmbedding);
  EXPECT_TRUE(plan[0].tied);
  EXPECT_EQ(plan[0].options.bits, 4);
  plan = plan_embeddings(two, options);
  ASSERT_EQ(plan.size(), 1U);
  EXPECT_EQ(plan[0].name, kHead);
  EXPECT_TRUE(plan[0].is_head());

  options.method = Method::kGptq;
  options.embedding_bits = 3.5;
  plan = plan_embeddings(two, options);
  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0].name, kEmbedding);
  EXPECT_EQ(plan[0].options.method, Method::kWatersic);
  EXPECT_NE(error_of([&] { plan_embeddings(tied, options); }).find("expected 3.5"),
            std::string::npos);
  options.head_bits = 3.5;
  EXPECT_EQ(plan_embeddings(tied, options).size(), 1U);
  for (const double wrong : {0.1, 11.0, 32.0, std::nan("")}) {
    options.embedding_bits = wrong;
    EXPECT_NE(error_of([&] { plan_embeddings(two, options); }).find("embedding-bits: expected"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace watersic
