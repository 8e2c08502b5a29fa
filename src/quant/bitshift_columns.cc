#include "quant/bitshift_columns.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace watersic {
namespace {

// Beyond this a code has few values.
double reach_of(int level) { return level <= kMostLowRate ? 2.3 : 3.3; }
// What an exception takes is worth so much error, in units of what the level leaves.
constexpr double kExceptionPrice = 45;

// In units of kExceptionUnit: what is taken off a value in deviations of the code.
int32_t exception_of(double u, int level) {
  const double beyond = std::fabs(u) - reach_of(level);
  if (beyond <= 0 || beyond * beyond < kExceptionPrice * level_distortion(level)) return 0;
  return static_cast<int32_t>(
      std::clamp<long>(std::lround(u * kCodeDeviation / kExceptionUnit), -128, 127));
}

// What a stage leaves of what it is to say.
double stage_left(int level, size_t stage) {
  static const std::vector<double> left = [] {
    std::vector<double> out;
    for (int rate = 0; rate <= kMostStageRate; ++rate) out.push_back(level_distortion(rate));
    return out;
  }();
  return left[static_cast<size_t>(
      std::clamp(level - static_cast<int>(stage) * kMostStageRate, 0, kMostStageRate))];
}

}  // namespace

double bitshift_unit(const BitshiftPlan& plan, size_t i) {
  const double left = stage_left(std::max(plan.levels[i], 1), 0);
  const double width = code_width(std::clamp(plan.levels[i], 0, kMostStageRate));
  return width * plan.spread[i] / (std::sqrt(1 - left) * kCodeDeviation * stage_unit(0));
}

TestChannel::TestChannel(double water, std::span<const double> row_spread,
                         std::span<const double> diagonal, uint64_t seed)
    : water_(water),
      row_spread_(row_spread),
      diagonal_(diagonal),
      spread_(diagonal.size()),
      seed_(seed) {}

void TestChannel::quantize(int64_t i, std::span<float> y, std::span<int32_t> z) {
  double square = 0;
  for (size_t k = 0; k < y.size(); ++k) {
    const double u = y[k] / row_spread_[k];
    square += u * u;
  }
  square /= static_cast<double>(y.size());
  spread_[static_cast<size_t>(i)] = std::sqrt(square);
  Rng rng(seed_ + static_cast<uint64_t>(i));
  const double noise = std::sqrt(water_), l = diagonal_[static_cast<size_t>(i)];
  for (size_t k = 0; k < y.size(); ++k)
    y[k] = static_cast<float>((y[k] + noise * row_spread_[k] * rng.normal()) / l);
  std::ranges::fill(z, 0);
}

BitshiftQuantizer::BitshiftQuantizer(ThreadPool& pool, const BitshiftPlan& plan, Bitshift matrix,
                                     std::span<const double> diagonal,
                                     std::span<const int32_t> live, std::vector<uint8_t>& payload)
    : pool_(pool),
      plan_(plan),
      diagonal_(diagonal),
      live_(live),
      payload_(payload),
      out_(std::move(matrix)),
      stages_(live.size()) {
  std::vector<size_t> in_loop(live.size());
  for (size_t i = 0; i < live.size(); ++i) {
    in_loop[static_cast<size_t>(live[i])] = i;
  }
  payload_.assign(static_cast<size_t>(out_.layout.payload_bytes()), 0);
  for (size_t r = 0; r < out_.layout.runs().size(); ++r) {
    const BitshiftRun& run = out_.layout.runs()[r];
    for (int64_t p = run.begin; p < run.end; ++p) {
      const BitshiftColumn& column = out_.layout.columns()[static_cast<size_t>(p)];
      stages_[in_loop[static_cast<size_t>(column.column)]].push_back({.position = p, .run = r});
    }
  }
  // The first stage is the one of the highest rate.
  for (auto& stages : stages_)
    std::ranges::sort(stages, {}, [&](const Stage& s) {
      return out_.layout.columns()[static_cast<size_t>(s.position)].stage;
    });
}

std::unique_ptr<BitshiftSearch> BitshiftQuantizer::search() {
  {
    const std::scoped_lock lock(mutex_);
    if (!idle_.empty()) {
      auto out = std::move(idle_.back());
      idle_.pop_back();
      return out;
    }
  }
  return std::make_unique<BitshiftSearch>(out_.memory);
}

void BitshiftQuantizer::give_back(std::unique_ptr<BitshiftSearch> search) {
  const std::scoped_lock lock(mutex_);
  idle_.push_back(std::move(search));
}

void BitshiftQuantizer::quantize(int64_t i, std::span<float> y, std::span<int32_t> z) {
  const auto rows = static_cast<int64_t>(y.size());
  // Pieces that end where segments do.
  std::vector<int64_t> begins;
  for (int64_t at = 0; at < rows; at += plan_.segment_rows - (first_ + at) % plan_.segment_rows)
    begins.push_back(at);
  std::vector<std::vector<BitshiftException>> exceptions(begins.size());
  pool_.parallel_for(static_cast<int64_t>(begins.size()), [&](int64_t piece) {
    const auto p = static_cast<size_t>(piece);
    const int64_t at = begins[p], end = p + 1 < begins.size() ? begins[p + 1] : rows;
    quantize_segment(i, first_ + at, std::min(end, kept_) - at,
                     y.subspan(static_cast<size_t>(at), static_cast<size_t>(end - at)),
                     z.subspan(static_cast<size_t>(at), static_cast<size_t>(end - at)),
                     exceptions[p]);
  });
  for (const auto& some : exceptions)
    out_.exceptions.insert(out_.exceptions.end(), some.begin(), some.end());
}

void BitshiftQuantizer::quantize_segment(int64_t i, int64_t first, int64_t kept, std::span<float> y,
                                         std::span<int32_t> z,
                                         std::vector<BitshiftException>& exceptions) {
  const auto column = static_cast<size_t>(i);
  const double spread = plan_.spread[column];
  std::ranges::fill(z, 0);
  const auto row_spread = [&](size_t k) {
    return plan_.row_spread[static_cast<size_t>(first) + k];
  };
  const double unit = bitshift_unit(plan_, column);
  if (spread > 0) {
    // A value is written larger than what the code says, by what the column's rate asks for; what
    // the code is told is larger by that and by what the tile's rate does.
    const double written = stage_left(std::max(plan_.levels[column], 1), 0);
    const auto inverse = [&](size_t stage, size_t k) {
      const double left = stage_left(level(column, first, k), stage);
      return left < 1 ? 1 / std::sqrt((stage == 0 ? 1 - written : 1) * (1 - left)) : 1;
    };
    // What z is to be: of that a stage's code says u, in its deviations.
    std::vector<double> wanted(y.size());
    std::vector<float> u(y.size());
    for (size_t k = 0; k < y.size(); ++k) wanted[k] = y[k] / (unit * row_spread(k));
    const auto take = [&](size_t stage) {
      const double scale = kCodeDeviation * stage_unit(static_cast<int>(stage));
      for (size_t k = 0; k < y.size(); ++k)
        u[k] = static_cast<float>((wanted[k] - z[k]) * inverse(stage, k) / scale);
    };
    take(0);
    for (size_t k = 0; k < y.size(); ++k) {
      const int32_t e = exception_of(u[k], level(column, first, k));
      if (e == 0) continue;
      if (static_cast<int64_t>(k) < kept)
        exceptions.push_back(
            {.row = first + static_cast<int64_t>(k), .column = live_[column], .value = e});
      z[k] = stage_unit(0) * kExceptionUnit * e;
    }
    auto path = search();
    std::vector<int32_t> values(y.size());
    for (size_t s = 0; s < stages_[column].size(); ++s) {
      take(s);
      code_stage(stages_[column][s], stage_unit(static_cast<int>(s)), first, kept, u, *path,
                 values);
      for (size_t k = 0; k < y.size(); ++k) z[k] += values[k];
    }
    give_back(std::move(path));
  }
  for (size_t k = 0; k < y.size(); ++k)
    y[k] = static_cast<float>(unit / diagonal_[column] * row_spread(k) * z[k]);
}

int BitshiftQuantizer::level(size_t column, int64_t first, size_t k) const {
  const auto tile = static_cast<size_t>((first + static_cast<int64_t>(k)) / kBitshiftRows);
  return std::clamp(plan_.levels[column] + plan_.offsets[tile], 0, kMostLevel);
}

void BitshiftQuantizer::code_stage(Stage& stage, int32_t unit, int64_t first, int64_t kept,
                                   std::span<const float> u, BitshiftSearch& search,
                                   std::span<int32_t> values) {
  const BitshiftLayout& layout = out_.layout;
  const BitshiftRun& run = layout.runs()[stage.run];
  std::vector<int32_t> rates;
  const auto rows = static_cast<int64_t>(u.size());
  for (int64_t at = 0; at < rows; at += kBitshiftRows)
    rates.push_back(layout.rate(run, (first + at) / kBitshiftRows));
  std::vector<uint16_t> windows(u.size());
  const bool begins = first % layout.segment_rows() == 0;
  const int start =
      search.follow(u, first, rates, begins ? BitshiftSearch::kFree : stage.window, windows);
  if (begins) {
    const auto at =
        static_cast<size_t>(layout.start(first / layout.segment_rows(), stage.position));
    payload_[at] = static_cast<uint8_t>(start);
    payload_[at + 1] = static_cast<uint8_t>(start >> 8);
  }
  for (int64_t at = 0; at < rows; at += kBitshiftRows) {
    const int rate = rates[static_cast<size_t>(at / kBitshiftRows)];
    const int64_t tile = (first + at) / kBitshiftRows;
    const auto count = static_cast<size_t>(std::min(kBitshiftRows, rows - at));
    const auto some = std::span(windows).subspan(static_cast<size_t>(at), count);
    const auto out = values.subspan(static_cast<size_t>(at), count);
    if (rate == 0) {
      std::ranges::fill(out, 0);
      continue;
    }
    if (at < kept) {
      const auto words = layout.words(tile, stage.run, stage.position - run.begin);
      write_chunk(rate, some, payload_.data() + words.first, words.step);
    }
    for (size_t k = 0; k < count; ++k)
      out[k] = unit * code_value(out_.memory, rate, some[k], static_cast<int64_t>(k));
  }
  if ((first + kept) % layout.segment_rows() != 0)
    stage.window = windows[static_cast<size_t>(kept - 1)];
}

Bitshift BitshiftQuantizer::take() {
  std::ranges::sort(out_.exceptions, [](const BitshiftException& a, const BitshiftException& b) {
    return a.row != b.row ? a.row < b.row : a.column < b.column;
  });
  return std::move(out_);
}

}  // namespace watersic
