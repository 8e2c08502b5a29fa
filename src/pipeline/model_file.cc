#include "pipeline/model_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "container/common_texts.h"
#include "model/config.h"
#include "pipeline/kept_tensor.h"
#include "pipeline/model_options.h"
#include "watersic/version.h"

namespace watersic {
namespace {

void set_stored(LayerReport& layer, uint64_t bytes) {
  layer.bits.file = 8 * static_cast<double>(bytes) / static_cast<double>(layer.rows * layer.cols);
  layer.bits.side = layer.bits.file - layer.bits.coded;
}

// Over all layers, the basis included.
BitCount total_bits(const QuantizeReport& report) {
  BitCount total;
  for (const LayerReport& layer : report.layers) {
    const double share = static_cast<double>(layer.rows * layer.cols) /
                         static_cast<double>(report.quantized_weights);
    total.file += share * layer.bits.file;
    total.coded += share * layer.bits.coded;
    total.side += share * layer.bits.side;
    total.pooled_entropy += share * layer.bits.pooled_entropy;
    total.paper_rate += share * layer.bits.paper_rate;
  }
  total.file += report.basis_bits;
  total.side += report.basis_bits;
  total.paper_rate += report.basis_bits;
  return total;
}

}  // namespace

std::set<std::string> quantized_names(const std::vector<std::vector<LayerPlan>>& plan,
                                      const std::vector<EmbeddingPlan>& embeddings) {
  std::set<std::string> names;
  for (const auto& block : plan)
    for (const LayerPlan& layer : block)
      if (!layer.keep) names.insert(layer.site.name);
  for (const EmbeddingPlan& matrix : embeddings) names.insert(matrix.name);
  return names;
}

int64_t ModelFile::other_bytes(const std::set<std::string>& quantized) const {
  constexpr int64_t kManifest = 4096;  // and the header: a little more than they take
  ContainerWriter writer = trial();
  return static_cast<int64_t>(add_texts(writer) + add_kept(writer, quantized)) + kManifest;
}

uint64_t ModelFile::axes_bytes() const {
  if (basis_.axes().empty()) return 0;
  ContainerWriter writer = trial();
  return add_axes(writer);
}

uint64_t ModelFile::add_axes(ContainerWriter& writer) const {
  if (basis_.axes().empty()) return 0;
  const int64_t n = checkpoint_.config().hidden;
  return writer.add_quantized(kBasisName, n, n, basis_.axes());
}

uint64_t ModelFile::add_texts(ContainerWriter& writer) const {
  uint64_t bytes = 0;
  for (const char* name : kCarriedTexts)
    if (const auto text = checkpoint_.text(name)) bytes += writer.add_text(name, *text);
  return bytes;
}

uint64_t ModelFile::add_kept(ContainerWriter& writer,
                             const std::set<std::string>& quantized) const {
  uint64_t bytes = 0;
  for (const ModelTensor& tensor : model_tensors(checkpoint_.config())) {
    if (quantized.contains(tensor.name)) continue;
    const bool half = checkpoint_.dtype(tensor.name) == "F16";
    std::vector<int64_t> shape{tensor.shape.rows, tensor.shape.cols};
    if (tensor.is_vector) shape = {tensor.shape.cols};
    bytes += writer.add_raw(tensor.name, half ? SectionKind::kF16 : SectionKind::kBf16, shape,
                            in_16_bits(basis_.stored(), tensor.name, half));
  }
  return bytes;
}

void ModelFile::write(const std::vector<std::vector<LayerPlan>>& plan,
                      const std::vector<EmbeddingPlan>& embeddings, const WorkFolder& work,
                      QuantizeReport& report) const {
  ContainerWriter writer(path_);
  size_t next = 0;
  for (size_t block = 0; block < plan.size(); ++block) {
    for (const Capture stage : kStages) {
      const FinishedStage finished = work.own_stage(static_cast<int64_t>(block), stage);
      for (size_t i = 0; i < finished.layers.size(); ++i) {
        LayerReport& layer = report.layers[next++];
        if (layer.kept) continue;
        set_stored(layer,
                   writer.add_quantized(layer.name, layer.rows, layer.cols, finished.tensors[i]));
      }
    }
  }
  for (LayerReport& matrix : report.embeddings)
    set_stored(matrix, writer.add_quantized(matrix.name, matrix.rows, matrix.cols,
                                            work.own_matrix(matrix.name).tensors.front()));
  report.basis_bits =
      8 * static_cast<double>(add_axes(writer)) / static_cast<double>(report.quantized_weights);
  add_texts(writer);
  report.kept_bytes = static_cast<int64_t>(add_kept(writer, quantized_names(plan, embeddings)));
  const ContainerWriter::Summary summary =
      writer.finish(fmt::format("watersic {}", kVersion), options_json(report.options));
  report.model_id = summary.model_id;
  report.file_bytes = static_cast<int64_t>(summary.file_bytes);
  report.bits = total_bits(report);
}

}  // namespace watersic
