#include "export/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "checkpoint/gguf_layout.h"
#include "export/weight_rows.h"
#include "io/gguf_writer.h"
#include "tokenizer/gguf_vocabulary.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// llama.cpp's numbers for "what most tensors are": general.file_type.
struct FileType {
  GgufType type;
  uint32_t number;
};
FileType file_type(ExportType type) {
  switch (type) {
    case ExportType::kF32:
      return {GgufType::kF32, 0};
    case ExportType::kF16:
      return {GgufType::kF16, 1};
    case ExportType::kQ8_0:
      return {GgufType::kQ8_0, 7};
    case ExportType::kBF16:
      break;
  }
  return {GgufType::kBF16, 32};
}

float largest(GgufType type) {
  if (type == GgufType::kF16) return kHalfMax;
  return type == GgufType::kQ8_0 ? kQ8Max : std::numeric_limits<float>::max();
}

GgufMetadata metadata_of(const OpenModel& model, ExportType type, const std::string& pre) {
  const ModelConfig& config = model.config();
  GgufMetadata metadata;
  add_gguf_config(metadata, config, model.name());
  metadata.add_text("general.type", "model");
  std::filesystem::path path = model.name();
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  if (path.extension() == ".wsic" || path.extension() == ".gguf") path.replace_extension();
  metadata.add_text("general.name", path.filename().string());
  metadata.add_number("general.file_type", file_type(type).number);
  metadata.add_number("general.quantization_version", 2);  // of ggml's blocks

  TokenizerTexts texts;
  const auto tokenizer = model.text("tokenizer.json");
  if (!tokenizer)
    throw Error(fmt::format("{}: expected a tokenizer.json, found none", model.name()));
  texts.tokenizer = *tokenizer;
  texts.config = model.text("tokenizer_config.json").value_or("");
  texts.chat_template = model.text("chat_template.jinja").value_or("");
  GgufTokenizerOptions options{.vocabulary = config.vocabulary, .bos = config.bos, .pre = pre};
  if (!config.eos.empty()) options.eos = config.eos.front();
  add_gguf_tokenizer(metadata, texts, options, model.name());
  return metadata;
}

// Rows, or elements of a bias, in llama.cpp's order.
Matrix<float> permuted(const ModelConfig& config, const ModelTensor& tensor,
                       const Matrix<float>& values) {
  Matrix<float> out(values.rows(), values.cols());
  if (tensor.is_vector) {
    for (int64_t i = 0; i < values.cols(); ++i) out(0, gguf_row(config, i)) = values(0, i);
    return out;
  }
  for (int64_t i = 0; i < values.rows(); ++i) {
    const auto row = values.row(i);
    std::copy(row.begin(), row.end(), out.row(gguf_row(config, i)).begin());
  }
  return out;
}

}  // namespace

void write_gguf(const OpenModel& model, const std::filesystem::path& path, ExportType type,
                const std::string& pre, const ProgressFn& progress) {
  const ModelConfig& config = model.config();
  const std::vector<ModelTensor> tensors = model_tensors(config);
  std::vector<GgufTensorSpec> specs;
  const std::vector<float> divisors = gguf_rope_divisors(config);
  if (!divisors.empty()) {
    specs.push_back({.name = kGgufRopeDivisors,
                     .cols = static_cast<int64_t>(divisors.size()),
                     .is_vector = true});
  }
  for (const ModelTensor& tensor : tensors) {
    GgufType stored = tensor.is_vector ? GgufType::kF32 : file_type(type).type;
    if (tensor.shape.cols % block_values(stored) != 0) stored = GgufType::kF16;
    specs.push_back({.name = gguf_name(tensor.name),
                     .type = stored,
                     .rows = tensor.shape.rows,
                     .cols = tensor.shape.cols,
                     .is_vector = tensor.is_vector});
  }
  GgufWriter writer(path, metadata_of(model, type, pre), specs);
  if (!divisors.empty()) writer.write(divisors);
  for (size_t k = 0; k < tensors.size(); ++k) {
    const ModelTensor& tensor = tensors[k];
    const GgufType stored = specs[k + specs.size() - tensors.size()].type;
    for_all_rows(model.weights(), tensor, largest(stored), to_string(stored).c_str(),
                 [&](const Matrix<float>& rows) {
                   const bool moved = is_permuted(config, tensor.name);
                   writer.write(moved ? permuted(config, tensor, rows).values() : rows.values());
                 });
    if (progress) {
      progress({.stage = "writing",
                .unit = "tensors",
                .done = static_cast<int64_t>(k) + 1,
                .total = static_cast<int64_t>(tensors.size()),
                .detail = ""});
    }
  }
  writer.commit();
}

}  // namespace watersic
