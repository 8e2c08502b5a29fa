#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// Probabilities 0.1, 0.4, 0.05, 0.3, 0.15.
std::vector<float> logits() {
  std::vector<float> list;
  for (const double p : {0.1, 0.4, 0.05, 0.3, 0.15})
    list.push_back(static_cast<float>(std::log(p)));
  return list;
}

// What is chosen, and how often, of quantiles that are spread evenly.
std::map<int32_t, int> counts(const SamplerOptions& options) {
  std::map<int32_t, int> found;
  for (int i = 0; i < 1000; ++i) ++found[choose_token(logits(), options, (i + 0.5) / 1000)];
  return found;
}

TEST(Sampler, WithoutRestrictionsTheDistributionIsTheModels) {
  EXPECT_EQ(counts({}), (std::map<int32_t, int>{{0, 100}, {1, 400}, {2, 50}, {3, 300}, {4, 150}}));
}

TEST(Sampler, TakesTheTokenAtAQuantile) {
  const std::vector<float> list = {std::log(0.5F), -1000.0F, std::log(0.2F), std::log(0.3F)};
  const auto at = [&](double uniform) { return choose_token(list, {}, uniform); };
  EXPECT_EQ(at(0.0), 0);
  EXPECT_EQ(at(0.499), 0);
  EXPECT_EQ(at(0.501), 2);
  EXPECT_EQ(at(0.699), 2);
  EXPECT_EQ(at(0.701), 3);
  EXPECT_EQ(at(1 - 0x1p-53), 3);
  // At a temperature of 1/2 the squares count: 25, 4, 9 of 38.
  EXPECT_EQ(choose_token(list, {.temperature = 0.5}, 0.656), 0);
  EXPECT_EQ(choose_token(list, {.temperature = 0.5}, 0.659), 2);
  EXPECT_EQ(choose_token(std::vector<float>{-1000.0F, -999.0F}, {.temperature = 0.001}, 0.5), 1);
}

TEST(Sampler, AtTemperatureZeroTheMostLikelyIsTaken) {
  EXPECT_EQ(counts({.temperature = 0}), (std::map<int32_t, int>{{1, 1000}}));
  EXPECT_EQ(counts({.temperature = 0, .top_k = 3}), (std::map<int32_t, int>{{1, 1000}}));
  EXPECT_EQ(choose_token(std::vector<float>{1, 2, 2, 0}, {.temperature = 0}, 0.9), 1);
}

TEST(Sampler, RestrictionsKeepTheMostLikely) {
  const auto near = [](const SamplerOptions& options, const std::map<int32_t, int>& expected) {
    const auto found = counts(options);
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [id, count] : expected) EXPECT_NEAR(found.at(id), count, 1) << id;
  };
  near({.top_k = 2}, {{1, 571}, {3, 429}});
  near({.top_k = 9}, {{0, 100}, {1, 400}, {2, 50}, {3, 300}, {4, 150}});
  near({.top_p = 0.69}, {{1, 571}, {3, 429}});
  near({.top_p = 0.71}, {{1, 471}, {3, 353}, {4, 176}});
  near({.top_p = 1e-9}, {{1, 1000}});
  near({.min_p = 0.374}, {{1, 471}, {3, 353}, {4, 176}});
  near({.min_p = 0.376}, {{1, 571}, {3, 429}});
  near({.min_p = 1}, {{1, 1000}});
  // The sum of the three most likely is 0.85: top_p counts what top_k has left.
  near({.top_k = 3, .top_p = 0.8}, {{1, 571}, {3, 429}});
  // Squares: 16, 9, 2.25, 1, 0.25 of 28.5; of that 0.8 is more than 16 and less than 25.
  near({.temperature = 0.5, .top_p = 0.8}, {{1, 640}, {3, 360}});
  near({.temperature = 1, .top_p = 0.8}, {{1, 471}, {3, 353}, {4, 176}});
}

// Of a large vocabulary only the likeliest are sorted; the choice is that among all of them.
TEST(Sampler, ManyTokensAreChosenFromAsFew) {
  Rng rng(1);
  std::vector<float> many(5000);
  for (const double spread : {0.01, 1.0, 4.0}) {
    for (float& logit : many) logit = static_cast<float>(spread * rng.normal());
    std::vector<int32_t> order(many.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, std::greater(),
                             [&](int32_t id) { return many[static_cast<size_t>(id)]; });
    std::vector<double> sums;
    double sum = 0;
    for (const int32_t id : order)
      sums.push_back(sum += std::exp(static_cast<double>(many[static_cast<size_t>(id)])));
    for (const double top_p : {0.1, 0.5, 0.9, 0.999}) {
      const auto kept = std::ranges::lower_bound(sums, top_p * sum) - sums.begin();
      for (const double uniform : {0.0, 0.3, 0.77, 0.9999}) {
        const auto at = std::ranges::upper_bound(sums, uniform * sums[static_cast<size_t>(kept)]);
        EXPECT_EQ(choose_token(many, {.top_p = top_p}, uniform),
                  order[static_cast<size_t>(at - sums.begin())])
            << spread << " " << top_p << " " << uniform;
      }
    }
  }
}

TEST(Sampler, WhatIsOutOfRangeIsAnError) {
  EXPECT_NO_THROW(check_sampler({}));
  EXPECT_NO_THROW(check_sampler({.temperature = 0, .top_k = 1, .top_p = 0.1, .min_p = 1}));
  EXPECT_THROW(check_sampler({.temperature = -1}), Error);
  EXPECT_THROW(check_sampler({.temperature = std::nan("")}), Error);
  EXPECT_THROW(check_sampler({.temperature = INFINITY}), Error);
  EXPECT_THROW(check_sampler({.top_k = -1}), Error);
  EXPECT_THROW(check_sampler({.top_p = 0}), Error);
  EXPECT_THROW(check_sampler({.top_p = 1.1}), Error);
  EXPECT_THROW(check_sampler({.min_p = -0.1}), Error);
}

}  // namespace
}  // namespace watersic
