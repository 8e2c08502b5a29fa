#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/bitshift.h"
#include "base/half.h"
#include "base/rng.h"
#include "base/threads.h"
#include "base/trellis.h"
#include "checkpoint/synth.h"
#include "coding/enc_tensor.h"
#include "container/common_texts.h"
#include "container/write_container.h"
#include "io/text.h"
#include "model/config.h"
#include "quant/bitshift_plan.h"
#include "watersic/error.h"
#include "watersic/model.h"
#include "watersic/version.h"

namespace watersic {
namespace {

constexpr int kStates = 64;
constexpr int64_t kSegmentRows = 1024;
// Spreads of columns differ by this many octaves (one standard deviation): in the 2-bit files of
// trained models in their principal basis it is between 0.5 and 1.
constexpr double kColumnOctaves = 0.7;

// Nearly N(0, 1), of eight bytes: quick, since a model takes 10^9 of them.
double quick_normal(uint64_t bits) {
  constexpr uint64_t kPairs = 0x00FF00FF00FF00FF;
  const uint64_t pairs = (bits & kPairs) + (bits >> 8 & kPairs);
  const uint64_t sum = (pairs * 0x0001000100010001) >> 48;
  return (static_cast<double>(sum) - 1020) / 209;  // 8 (256^2 - 1) / 12 is 209^2
}

Scales scales_of(const std::vector<double>& values) {
  double largest = 0;
  for (const double v : values) largest = std::max(largest, v);
  Scales out{.exponent = half_exponent(largest), .half = {}};
  for (const double v : values)
    out.half.push_back(half_from_float(static_cast<float>(std::ldexp(v, -out.exponent))));
  return out;
}

// Integers as a quantizer with a trellis leaves them at about `bits` bits a weight, and scales with
// which the weights have the standard deviation `spread`.
QuantizedTensor random_tensor(ThreadPool& pool, int64_t rows, int64_t cols, int64_t strands,
                              double bits, double spread, uint64_t seed) {
  Rng rng(seed);
  QuantizedTensor q{.rows = rows, .cols = cols, .trellis = kStates};
  q.segment_rows = std::min(rows, kSegmentRows);
  q.strands = strands;
  q.codes = Matrix<int32_t>(rows, cols);
  const double typical = std::exp2(bits) / std::sqrt(2 * std::numbers::pi * std::numbers::e);
  std::vector<double> spreads, column_scales, row_scales;
  for (int64_t j = 0; j < cols; ++j) {
    spreads.push_back(typical * std::exp2(kColumnOctaves * rng.normal()));
    column_scales.push_back(spread / spreads.back());
  }
  for (int64_t k = 0; k < rows; ++k) row_scales.push_back(std::exp2(0.1 * rng.normal()));
  const Trellis& trellis = Trellis::of(kStates);
  pool.parallel_for(tile_count(rows, q.segment_rows), [&](int64_t segment) {
    Rng mine(seed ^ static_cast<uint64_t>(segment + 1) << 32);
    std::vector<int> states(static_cast<size_t>(cols), 0);
    const int64_t end = std::min(rows, (segment + 1) * q.segment_rows);
    for (int64_t k = segment * q.segment_rows; k < end; ++k) {
      for (size_t j = 0; j < states.size(); ++j) {
        const double z = spreads[j] * quick_normal(mine.bits()) - 0.5 * (states[j] & 1);
        q.codes(k, static_cast<int64_t>(j)) =
            trellis.step(states[j], static_cast<int32_t>(std::floor(z + 0.5)));
      }
    }
  });
  q.row_scale = scales_of(row_scales);
  q.column_scale = scales_of(column_scales);
  return q;
}

// The same in the runnable layout, where any bits are a matrix.
QuantizedTensor random_runnable(int64_t rows, int64_t cols, int64_t strands, double bits,
                                double spread, uint64_t seed) {
  Rng rng(seed);
  QuantizedTensor q{.rows = rows, .cols = cols, .strands = strands};
  Bitshift& b = q.bitshift;
  b.memory = kMostMemory;
  std::vector<double> column_scales, row_scales, spreads;
  for (int64_t j = 0; j < cols; ++j) {
    const double rate = std::max(0.0, bits + kColumnOctaves * rng.normal());
    const auto level =
        std::min<int>(static_cast<int>(std::lround(kBitshiftQuarters * rate)), kMostLevel);
    spreads.push_back(std::sqrt(1 / level_distortion(level) - 1));  // over noise of 1
    column_scales.push_back(spread / (kCodeDeviation * stage_unit(0)));
  }
  b.levels = levels_at(spreads, 1);
  b.offsets.resize(static_cast<size_t>(bitshift_tiles(rows)));
  b.layout = BitshiftLayout(rows, bitshift_tiles(rows) * kBitshiftRows, b.levels, b.offsets);
  q.payload.resize(static_cast<size_t>(b.layout.payload_bytes()));
  const size_t random = q.payload.size() - kBitshiftPadding;
  for (size_t i = 0; i + 8 <= random; i += 8) {
    const uint64_t eight = rng.bits();
    std::memcpy(q.payload.data() + i, &eight, 8);
  }
  for (int64_t k = 0; k < rows; ++k) row_scales.push_back(std::exp2(0.1 * rng.normal()));
  q.row_scale = scales_of(row_scales);
  q.column_scale = scales_of(column_scales);
  return q;
}

}  // namespace

void synthesize_file(const std::string& like, int64_t layers, double bits, Layout layout,
                     uint64_t seed, const std::filesystem::path& file,
                     const std::filesystem::path& tokenizer_from) {
  if (!(bits > 0 && bits <= 8))
    throw Error(fmt::format("bits: expected more than 0 and at most 8, found {}", bits));
  ThreadPool pool;
  const Json json = synth_config(like, layers > 0 ? std::optional(layers) : std::nullopt);
  const ModelConfig config = parse_config(json, like);
  // Rows of q, k, v come head by head in turn, as quantize_model codes them.
  std::map<std::string, int64_t> strands;
  for (int64_t block = 0; block < config.blocks; ++block)
    for (const LinearSite& site : linear_sites(config, block)) strands[site.name] = site.heads;

  ContainerWriter writer(file);
  uint64_t index = seed * 1'000'003;
  for (const ModelTensor& tensor : model_tensors(config)) {
    const auto [rows, cols] = tensor.shape;
    if (tensor.is_vector) {
      const bool norm = tensor.name.ends_with("weight");
      const std::vector<uint16_t> values(static_cast<size_t>(cols),
                                         bf16_from_float(norm ? 1.0F : 0.0F));
      writer.add_raw(tensor.name, SectionKind::kBf16, {cols}, values);
      continue;
    }
    const auto layer = strands.find(tensor.name);
    const double rate = layer == strands.end() ? bits + 3 : bits;
    const double spread = 1 / std::sqrt(static_cast<double>(cols));
    const int64_t parts = layer == strands.end() ? 1 : layer->second;
    ++index;
    const QuantizedTensor q = layout == Layout::kRunnable
                                  ? random_runnable(rows, cols, parts, rate, spread, index)
                                  : random_tensor(pool, rows, cols, parts, rate, spread, index);
    writer.add_quantized(tensor.name, rows, cols, encode_tensor(q, pool));
  }
  writer.add_text("config.json", json.dump(2));
  for (const char* name : kCarriedTexts) {
    const auto text = tokenizer_from / name;
    if (std::string(name) != "config.json" && !tokenizer_from.empty() &&
        std::filesystem::exists(text))
      writer.add_text(name, read_text(text));
  }
  writer.finish(fmt::format("watersic {}", kVersion), {{"synthetic", like}, {"bits", bits}});
}

}  // namespace watersic
