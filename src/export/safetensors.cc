#include "export/safetensors.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint_writer.h"
#include "container/common_texts.h"
#include "export/weight_rows.h"
#include "io/json.h"
#include "watersic/error.h"

namespace watersic {
namespace {

struct Dtype {
  const char *stored, *config;  // in the weights, in config.json
  float largest;
};
Dtype dtype_of(ExportType type, const std::string& name) {
  constexpr float kMax = std::numeric_limits<float>::max();
  switch (type) {
    case ExportType::kF32:
      return {"F32", "float32", kMax};
    case ExportType::kF16:
      return {"F16", "float16", kHalfMax};
    case ExportType::kBF16:
      return {"BF16", "bfloat16", kMax};
    case ExportType::kQ8_0:
      break;
  }
  throw Error(name + ": expected f32, f16 or bf16 for safetensors, found q8_0");
}

}  // namespace

void write_safetensors(const OpenModel& model, const std::filesystem::path& folder, ExportType type,
                       const ProgressFn& progress) {
  const Dtype dtype = dtype_of(type, model.name());
  CheckpointFolder checkpoint{.tensors = model_tensors(model.config()),
                              .dtype = dtype.stored,
                              .shard_bytes = 4'000'000'000};
  for (const char* name : kCarriedTexts)
    if (auto text = model.text(name)) checkpoint.texts[name] = std::move(*text);
  Json config = parse_json(checkpoint.texts.at("config.json"), model.name() + ": config.json");
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = dtype.config;
  checkpoint.texts["config.json"] = config.dump(2) + "\n";

  write_checkpoint(
      folder, checkpoint,
      [&](size_t k, SafetensorsWriter& writer) {
        for_all_rows(model.weights(), checkpoint.tensors[k], dtype.largest, dtype.stored,
                     [&](const Matrix<float>& rows) { writer.write(rows.values()); });
      },
      progress);
}

}  // namespace watersic
