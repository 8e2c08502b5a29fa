#include "pipeline/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "calibration/windows.h"
#include "engine/sample_sequences.h"
#include "pipeline/identity.h"
#include "tokenizer/tokenizer.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {

std::vector<std::vector<int32_t>> calibration_windows(const Context& context,
                                                      const CalibratedModel& model,
                                                      const CalibrationOptions& options,
                                                      uint64_t seed) {
  const ModelConfig& config = model.config;
  using Source = CalibrationOptions::Source;
  if (options.source == Source::kNone) return {};
  const int64_t most = config.max_positions;
  const int64_t length =
      options.sequence_length > 0 ? options.sequence_length : std::min<int64_t>(2048, most);
  if (length > most) {
    throw Error(fmt::format("sequence length: expected at most {}, the model's context, found {}",
                            most, length));
  }
  if (options.source == Source::kText) {
    const std::vector<int32_t> ids = model.tokenizer().encode(read_text(options.file));
    return pick_windows(ids, options.samples, length, seed, options.file.string());
  }
  const std::optional<int32_t> first = config.first_token();
  if (!first) {
    throw Error(
        fmt::format("{}: the model names neither a BOS nor an end-of-text token to sample from; "
                    "calibrate on a text",
                    model.name));
  }
  return sample_sequences(
      context.as("sampling calibration text"), config, model.weights,
      {.count = options.samples, .length = length, .first_token = *first, .seed = seed});
}

std::vector<std::vector<int32_t>> shared_windows(
    const std::filesystem::path& path, const Json& identity,
    const std::function<std::vector<std::vector<int32_t>>()>& make) {
  if (!std::filesystem::exists(path)) {
    auto windows = make();
    write_file(path, Json({{"identity", identity}, {"windows", windows}}).dump() + "\n");
    return windows;
  }
  const Json json = read_json(path, size_t{4} << 30);
  const JsonFields fields(json, path.string());
  if (const auto found = first_difference(fields.object("identity").json(), identity))
    throw Error(
        fmt::format("{}: holds the windows of another calibration: {}", path.string(), *found));
  try {
    return fields.array("windows").get<std::vector<std::vector<int32_t>>>();
  } catch (const Json::exception&) {
    fields.fail("windows", "arrays of token ids");
  }
}

}  // namespace watersic
