#include "export/safetensors.h"

#include <fmt/format.h>

#include <cmath>

#include "base/half.h"
#include "container/common_texts.h"
#include "io/json.h"
#include "model/checkpoint_writer.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// A half reaches to 65504 only; a weight beyond would become infinite.
void check_range(const Matrix<float>& values, const std::string& name, ExportType type) {
  if (type != ExportType::kF16) return;
  for (const float value : values.values()) {
    if (std::isinf(float_from_half(half_from_float(value)))) {
      throw Error(fmt::format(
          "tensor '{}': expected values within the range of f16, found {}; bf16 holds it", name,
          value));
    }
  }
}

}  // namespace

void write_safetensors(const OpenModel& model, const std::filesystem::path& folder, ExportType type,
                       const ProgressFn& progress) {
  CheckpointFolder checkpoint{.tensors = model_tensors(model.config()),
                              .dtype = type == ExportType::kF16 ? "F16" : "BF16"};
  for (const char* name : kCarriedTexts)
    if (auto text = model.text(name)) checkpoint.texts[name] = std::move(*text);
  Json config = parse_json(checkpoint.texts.at("config.json"), model.name() + ": config.json");
  const char* field = config.contains("dtype") ? "dtype" : "torch_dtype";
  config[field] = type == ExportType::kF16 ? "float16" : "bfloat16";
  checkpoint.texts["config.json"] = config.dump(2) + "\n";

  write_checkpoint(
      folder, checkpoint,
      [&](size_t k, SafetensorsWriter& writer) {
        const Matrix<float> values = model.weights().matrix(checkpoint.tensors[k].name);
        check_range(values, checkpoint.tensors[k].name, type);
        writer.write(values.values());
      },
      progress);
}

}  // namespace watersic
