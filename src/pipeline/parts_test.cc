// The parts of the pass: the plan, the budget, the mixing search.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "model/small_checkpoint.h"
#include "pipeline/budget.h"
#include "pipeline/mixing.h"
#include "pipeline/plan.h"
#include "watersic/error.h"

namespace watersic {
namespace {

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    return e.what();
  }
  return "(no error)";
}

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
  EXPECT_NE(error("q_proj:coder=best").find("classes or pooled"), std::string::npos);
  EXPECT_NE(error("(:bits=2").find("regular expression"), std::string::npos);
  EXPECT_NE(error("q_proj:method=rtn,bits=2.5").find("q_proj"), std::string::npos);
  EXPECT_NE(error("x_proj:bits=2").find("matches no layer"), std::string::npos);
  for (const char* rows : {"0.gate_proj", "x.gate_proj:1", "0.down_proj:1", "2.up_proj:0",
                           "0.up_proj:192", "0.up_proj:-1", "0.up_proj:1,"})
    EXPECT_NE(error_of([&] { parse_zero_rows(rows, config); }).find("--zero-rows"),
              std::string::npos)
        << rows;
  const ZeroRows rows = parse_zero_rows("0.gate_proj:3,4;1.up_proj:191", config);
  EXPECT_EQ(rows.at(0), (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(rows.at(1), (std::vector<int64_t>{191}));
}

TEST(ModelOptions, AreWhatTheMethodCanUse) {
  QuantizeOptions options;
  ModelOptions resolved = resolved_model_options(options);
  EXPECT_TRUE(*resolved.drift && *resolved.residual && *resolved.attention_weighting &&
              *resolved.mixing);
  options.model.drift = false;
  resolved = resolved_model_options(options);
  EXPECT_TRUE(*resolved.attention_weighting);
  EXPECT_FALSE(*resolved.drift || *resolved.residual || *resolved.mixing);
  options.model.residual = true;
  EXPECT_THROW(resolved_model_options(options), Error);
  options.model = {};
  options.method = Method::kHuffmanGptq;
  resolved = resolved_model_options(options);
  EXPECT_TRUE(*resolved.drift);
  EXPECT_FALSE(*resolved.residual || *resolved.attention_weighting || *resolved.mixing);
  options.model.mixing = true;
  EXPECT_THROW(resolved_model_options(options), Error);
  options.model = {};
  options.calibration.source = CalibrationOptions::Source::kNone;
  EXPECT_FALSE(*resolved_model_options(options).drift);
}

Matrix<double> constant(double value) {
  Matrix<double> M(2, 2);
  for (double& x : M.values()) x = value;
  return M;
}

TEST(Mixing, IsTheFormula) {
  StageStatistics statistics;
  statistics.plain = {.S = constant(1), .S_quantized = constant(2), .cross = constant(3)};
  statistics.weighted = {.S = constant(10), .S_quantized = constant(20), .cross = constant(30)};
  const double e_q = 0.25, e_a = 0.4;
  const Moments out = mixed(statistics, e_q, e_a);
  EXPECT_NEAR(out.S(0, 1), 0.6 * 10 + 0.4 * 1, 1e-12);
  EXPECT_NEAR(out.S_quantized(0, 1), 0.6 * (0.75 * 20 + 0.25 * 10) + 0.4 * (0.75 * 2 + 0.25 * 1),
              1e-12);
  EXPECT_NEAR(out.cross(0, 1), 0.6 * (0.75 * 30 + 0.25 * 10) + 0.4 * (0.75 * 3 + 0.25 * 1), 1e-12);
  statistics.weighted = {};
  EXPECT_NEAR(mixed(statistics, e_q, 0).cross(1, 0), 0.75 * 3 + 0.25 * 1, 1e-12);
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

}  // namespace
}  // namespace watersic
