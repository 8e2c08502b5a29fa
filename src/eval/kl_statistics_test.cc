#include "eval/kl_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/rng.h"

namespace watersic {
namespace {

std::vector<TokenScore> random_scores(size_t count) {
  Rng rng(1);
  std::vector<TokenScore> scores(count);
  for (TokenScore& s : scores) {
    s.reference_nll = 3 * rng.uniform();
    s.nll = s.reference_nll + 0.2 * rng.normal();
    s.kl = std::exp(rng.normal());
    s.same_top = rng.uniform() < 0.8;
  }
  return scores;
}

TEST(MeanOf, HasTheTextbookError) {
  const Estimate e = mean_of(std::vector<double>{1, 2, 3, 6});
  EXPECT_DOUBLE_EQ(e.value, 3);
  EXPECT_DOUBLE_EQ(e.error, std::sqrt((4.0 + 1 + 0 + 9) / 3 / 4));
  EXPECT_EQ(mean_of(std::vector<double>{5}).error, 0);
  // Small differences on top of a large value.
  EXPECT_NEAR(mean_of(std::vector<double>{1e9, 1e9 + 1}).error, 0.5, 1e-9);
}

TEST(PercentilesOf, AreLinearBetweenNeighbours) {
  std::vector<double> values(1001);
  std::iota(values.rbegin(), values.rend(), 0.0);
  const Percentiles p = percentiles_of(values);
  EXPECT_EQ(p.minimum, 0);
  EXPECT_NEAR(p.p0_1, 1, 1e-9);
  EXPECT_NEAR(p.p1, 10, 1e-9);
  EXPECT_NEAR(p.p5, 50, 1e-9);
  EXPECT_NEAR(p.p10, 100, 1e-9);
  EXPECT_NEAR(p.p25, 250, 1e-9);
  EXPECT_NEAR(p.median, 500, 1e-9);
  EXPECT_NEAR(p.p75, 750, 1e-9);
  EXPECT_NEAR(p.p90, 900, 1e-9);
  EXPECT_NEAR(p.p95, 950, 1e-9);
  EXPECT_NEAR(p.p99, 990, 1e-9);
  EXPECT_NEAR(p.p99_9, 999, 1e-9);
  EXPECT_EQ(p.maximum, 1000);
  EXPECT_DOUBLE_EQ(percentiles_of({4, 1, 2, 3}).median, 2.5);
  EXPECT_DOUBLE_EQ(percentiles_of({10, 20}).p10, 11);
  const Percentiles one = percentiles_of({7});
  for (const double v : {one.minimum, one.p1, one.median, one.p99_9, one.maximum}) EXPECT_EQ(v, 7);
}

// As llama.cpp computes them: from sums of squares and a covariance.
TEST(KlStatistics, AgreesWithLlamaCppsFormulas) {
  const std::vector<TokenScore> scores = random_scores(500);
  const double n = 500;
  double q = 0, qq = 0, p = 0, pp = 0, pq = 0, kl = 0, kk = 0, d = 0, d2 = 0, d4 = 0, same = 0;
  for (const TokenScore& s : scores) {
    q += s.nll, qq += s.nll * s.nll;
    p += s.reference_nll, pp += s.reference_nll * s.reference_nll;
    pq += s.nll * s.reference_nll;
    kl += s.kl, kk += s.kl * s.kl;
    const double delta = std::exp(-s.nll) - std::exp(-s.reference_nll);
    d += delta, d2 += delta * delta, d4 += delta * delta * delta * delta;
    same += s.same_top ? 1 : 0;
  }
  const auto error = [&](double sum, double squares) {
    return std::sqrt((squares / n - sum / n * sum / n) / (n - 1));
  };
  const auto expect = [](const Estimate& e, double value, double err) {
    EXPECT_NEAR(e.value, value, 1e-9 * std::abs(value));
    EXPECT_NEAR(e.error, err, 1e-8 * err);
  };
  const KlStatistics s = kl_statistics(scores);
  expect(s.kl, kl / n, error(kl, kk));
  const double q_error = error(q, qq), p_error = error(p, pp);
  const double ppl = std::exp(q / n), reference = std::exp(p / n);
  expect(s.perplexity, ppl, ppl * q_error);
  expect(s.reference_perplexity, reference, reference * p_error);
  const double covariance = (pq / n - q / n * p / n) / (n - 1);
  EXPECT_NEAR(s.correlation, covariance / (q_error * p_error), 1e-9);
  const double ratio_error = std::sqrt(q_error * q_error + p_error * p_error - 2 * covariance);
  expect(s.ln_perplexity_ratio, (q - p) / n, ratio_error);
  expect(s.perplexity_ratio, ppl / reference, ppl / reference * ratio_error);
  expect(s.perplexity_difference, ppl - reference,
         std::sqrt(std::pow(ppl * q_error, 2) + std::pow(reference * p_error, 2) -
                   2 * ppl * reference * covariance));
  expect(s.delta_p, d / n, error(d, d2));
  expect(s.delta_p_rms, std::sqrt(d2 / n), 0.5 / std::sqrt(d2 / n) * error(d2, d4));
  expect(s.same_top, same / n, std::sqrt(same / n * (1 - same / n) / (n - 1)));
  EXPECT_LE(s.delta_p_percentiles.minimum, s.delta_p_percentiles.p25);
  EXPECT_LT(s.delta_p_percentiles.p25, s.delta_p_percentiles.p75);
  EXPECT_LE(s.kl_percentiles.p99_9, s.kl_percentiles.maximum);
}

TEST(KlStatistics, OfAModelAndItself) {
  std::vector<TokenScore> scores = random_scores(100);
  for (TokenScore& s : scores) s = {.nll = s.nll, .reference_nll = s.nll, .same_top = true};
  const KlStatistics s = kl_statistics(scores);
  EXPECT_EQ(s.kl.value, 0);
  EXPECT_EQ(s.perplexity_ratio.value, 1);
  EXPECT_EQ(s.perplexity_ratio.error, 0);
  EXPECT_EQ(s.perplexity_difference.error, 0);
  EXPECT_NEAR(s.correlation, 1, 1e-12);
  EXPECT_EQ(s.delta_p_rms.value, 0);
  EXPECT_EQ(s.delta_p_rms.error, 0);
  EXPECT_EQ(s.same_top.value, 1);
  EXPECT_EQ(s.same_top.error, 0);
}

TEST(KlStatistics, AreNamedInJson) {
  const Json json = to_json(kl_statistics(random_scores(20)));
  EXPECT_EQ(json["unit"], "nats");
  for (const char* field :
       {"kl", "perplexity", "reference_perplexity", "ln_perplexity_ratio", "perplexity_ratio",
        "perplexity_difference", "delta_p", "delta_p_rms", "same_top"}) {
    EXPECT_GT(json[field]["error"].get<double>(), 0) << field;
    EXPECT_TRUE(json[field]["value"].is_number()) << field;
  }
  EXPECT_LT(json["kl_percentiles"]["p99"], json["kl_percentiles"]["p99_9"]);
  EXPECT_LT(json["delta_p_percentiles"]["minimum"], json["delta_p_percentiles"]["maximum"]);
  // One token has no correlation: null, not a number that means nothing.
  EXPECT_TRUE(
      Json::parse(to_json(kl_statistics(random_scores(1))).dump())["correlation"].is_null());
}

}  // namespace
}  // namespace watersic
