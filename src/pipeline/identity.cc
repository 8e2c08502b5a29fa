#include "pipeline/identity.h"

#include "base/hash.h"
#include "container/common_texts.h"
#include "io/mapped_file.h"
#include "pipeline/report.h"
#include "watersic/version.h"

namespace watersic {

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

}  // namespace watersic
