#include "eval/kl_statistics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace watersic {
namespace {

// The percentiles in the order in which they are shown, largest first.
constexpr struct {
  const char* name;
  double fraction;
  double Percentiles::*value;
} kPercentiles[] = {{"maximum", 1, &Percentiles::maximum}, {"p99_9", 0.999, &Percentiles::p99_9},
                    {"p99", 0.99, &Percentiles::p99},      {"p95", 0.95, &Percentiles::p95},
                    {"p90", 0.9, &Percentiles::p90},       {"p75", 0.75, &Percentiles::p75},
                    {"median", 0.5, &Percentiles::median}, {"p25", 0.25, &Percentiles::p25},
                    {"p10", 0.1, &Percentiles::p10},       {"p5", 0.05, &Percentiles::p5},
                    {"p1", 0.01, &Percentiles::p1},        {"p0_1", 0.001, &Percentiles::p0_1},
                    {"minimum", 0, &Percentiles::minimum}};

// f(estimate), where f'(estimate) = slope: the error to first order.
Estimate mapped(const Estimate& estimate, double value, double slope) {
  return {.value = value, .error = std::abs(slope) * estimate.error};
}
Estimate exp_of(const Estimate& e) { return mapped(e, std::exp(e.value), std::exp(e.value)); }

double correlation_of(std::span<const double> x, std::span<const double> y) {
  const double mean_x = mean_of(x).value, mean_y = mean_of(y).value;
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return xy / std::sqrt(xx * yy);
}

Json to_json(const Estimate& estimate) {
  return {{"value", estimate.value}, {"error", estimate.error}};
}

Json to_json(const Percentiles& percentiles) {
  Json json;
  for (const auto& [name, fraction, value] : kPercentiles) json[name] = percentiles.*value;
  return json;
}

}  // namespace

Estimate mean_of(std::span<const double> values) {
  const auto count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  const double mean = sum / count;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return {.value = mean, .error = values.size() < 2 ? 0 : std::sqrt(squares / (count - 1) / count)};
}

Percentiles percentiles_of(std::vector<double> values) {
  assert(!values.empty());
  std::sort(values.begin(), values.end());
  Percentiles result;
  for (const auto& [name, fraction, value] : kPercentiles) {
    const double at = fraction * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(at);
    const double above = values[std::min(below + 1, values.size() - 1)];
    result.*value = std::lerp(values[below], above, at - static_cast<double>(below));
  }
  return result;
}

KlStatistics kl_statistics(std::span<const TokenScore> scores) {
  const auto each = [&](auto&& value) {
    std::vector<double> values;
    values.reserve(scores.size());
    for (const TokenScore& score : scores) values.push_back(value(score));
    return values;
  };
  KlStatistics s;
  {
    std::vector<double> kl = each([](const TokenScore& t) { return t.kl; });
    s.kl = mean_of(kl);
    s.kl_percentiles = percentiles_of(std::move(kl));
  }
  {
    const std::vector<double> nll = each([](const TokenScore& t) { return t.nll; }),
                              reference = each([](const TokenScore& t) { return t.reference_nll; });
    const Estimate mean = mean_of(nll), reference_mean = mean_of(reference);
    s.perplexity = exp_of(mean);
    s.reference_perplexity = exp_of(reference_mean);
    s.correlation = correlation_of(nll, reference);
    // Both models score the same tokens, so the error is that of the differences token by token:
    // far smaller than what either perplexity's error suggests.
    s.ln_perplexity_ratio =
        mean_of(each([](const TokenScore& t) { return t.nll - t.reference_nll; }));
    s.perplexity_ratio = exp_of(s.ln_perplexity_ratio);
    // To first order PPL(Q) - PPL(P) varies as PPL(Q) nll - PPL(P) nll'.
    const double q = s.perplexity.value, p = s.reference_perplexity.value;
    s.perplexity_difference = {.value = q - p, .error = mean_of(each([&](const TokenScore& t) {
                                                          return q * t.nll - p * t.reference_nll;
                                                        })).error};
  }
  {
    const auto difference = [](const TokenScore& t) {
      return std::exp(-t.nll) - std::exp(-t.reference_nll);
    };
    std::vector<double> delta = each(difference);
    s.delta_p = mean_of(delta);
    const Estimate square =
        mean_of(each([&](const TokenScore& t) { return difference(t) * difference(t); }));
    const double rms = std::sqrt(square.value);
    s.delta_p_rms = mapped(square, rms, rms > 0 ? 0.5 / rms : 0);
    s.delta_p_percentiles = percentiles_of(std::move(delta));
  }
  s.same_top = mean_of(each([](const TokenScore& t) { return t.same_top ? 1.0 : 0.0; }));
  return s;
}

Json to_json(const KlStatistics& s) {
  return {
      {"unit", "nats"},
      {"kl", to_json(s.kl)},
      {"kl_percentiles", to_json(s.kl_percentiles)},
      {"perplexity", to_json(s.perplexity)},
      {"reference_perplexity", to_json(s.reference_perplexity)},
      {"ln_perplexity_ratio", to_json(s.ln_perplexity_ratio)},
      {"perplexity_ratio", to_json(s.perplexity_ratio)},
      {"perplexity_difference", to_json(s.perplexity_difference)},
      {"correlation", s.correlation},
      {"delta_p", to_json(s.delta_p)},
      {"delta_p_rms", to_json(s.delta_p_rms)},
      {"delta_p_percentiles", to_json(s.delta_p_percentiles)},
      {"same_top", to_json(s.same_top)},
  };
}

}  // namespace watersic
