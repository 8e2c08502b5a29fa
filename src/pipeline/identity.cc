#include "pipeline/identity.h"

#include "base/hash.h"
#include "io/mapped_file.h"
#include "pipeline/report.h"
#include "watersic/version.h"

namespace watersic {

Json run_identity(const std::filesystem::path& model_dir, const QuantizeOptions& options) {
  Json input = Json::object();
  const auto add = [&](const std::filesystem::path& file, const std::string& name) {
    const MappedFile mapped(file);
    input[name] = hex_hash(mapped.bytes());
    mapped.release(mapped.bytes());
  };
  for (const auto& entry : std::filesystem::directory_iterator(model_dir)) {
    const std::string extension = entry.path().extension().string();
    if (entry.is_regular_file() && (extension == ".json" || extension == ".safetensors"))
      add(entry.path(), entry.path().filename().string());
  }
  if (options.calibration.source == CalibrationOptions::Source::kText)
    add(options.calibration.file, "calibration text");
  return {{"version", kVersion}, {"input", input}, {"options", options_json(options)}};
}

}  // namespace watersic
