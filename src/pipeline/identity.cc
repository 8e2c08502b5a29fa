#include "pipeline/identity.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "container/common_texts.h"
#include "io/mapped_file.h"
#include "linalg/blas.h"
#include "pipeline/model_options.h"
#include "watersic/error.h"
#include "watersic/version.h"

namespace watersic {
namespace {

std::optional<std::string> difference(const Json& was, const Json& is, const std::string& name) {
  if (was == is) return std::nullopt;
  if (was.is_object() && is.is_object()) {
    const auto below = [&](const std::string& key) {
      const Json nothing;
      return difference(was.contains(key) ? was[key] : nothing,
                        is.contains(key) ? is[key] : nothing,
                        name.empty() ? key : name + ": " + key);
    };
    for (const auto& [key, value] : was.items())
      if (auto found = below(key)) return found;
    for (const auto& [key, value] : is.items())
      if (auto found = below(key)) return found;
  }
  return fmt::format("{}: was {}, is {}", name, was.dump(), is.dump());
}

}  // namespace

Json run_identity(const Checkpoint& checkpoint, const QuantizeOptions& options) {
  Json input = Json::object();
  const auto add = [&](const std::filesystem::path& file, const std::string& name) {
    const MappedFile mapped(file);
    input[name] = hex_hash(mapped.bytes());
    mapped.release(mapped.bytes());
  };
  for (const auto& file : checkpoint.files()) add(file, file.filename().string());
  for (const char* name : kCarriedTexts)
    if (const auto text = checkpoint.text(name)) input[name] = hex_hash(*text);
  if (options.calibration.source == CalibrationOptions::Source::kText)
    add(options.calibration.file, "calibration text");
  return {{"version", kVersion}, {"input", input}, {"options", options_json(options)}};
}

void check_ranks(const Communicator& ranks, const Json& identity) {
  if (ranks.alone()) return;
  Json mine = identity;
  mine["processor"] = blas_processor();
  std::string root = mine.dump();
  share(ranks, 0, root);
  together(ranks, [&] {
    if (const auto found = difference(Json::parse(root), mine, ""))
      throw Error(fmt::format("rank {} is unlike rank 0: {}", ranks.rank(), *found));
  });
}

std::optional<std::string> first_difference(const Json& was, const Json& is) {
  return difference(was, is, "");
}

}  // namespace watersic
