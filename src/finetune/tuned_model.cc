#include "finetune/tuned_model.h"

#include <fmt/format.h>

#include <cmath>

#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// The coder that a tensor was coded with: then unchanged scales give unchanged bytes.
Coder coder_of(std::span<const std::byte> blob, const std::string& name) {
  const TensorSummary summary = summarize_tensor(blob, name);
  return summary.classes > 1 || summary.row_classes ? Coder::kClasses : Coder::kPooled;
}

}  // namespace

TunedModel::TunedModel(const ContainerReader& reader, const ModelConfig& config, ThreadPool& pool)
    : reader_(reader), pool_(pool), source_(reader, pool) {
  for (int64_t block = 0; block < config.blocks; ++block) {
    for (const LinearSite& site : linear_sites(config, block)) {
      if (reader.section(site.name).kind != SectionKind::kQuantized) continue;
      Layer layer{.scales = LayerScales(reader.quantized(site.name, pool)), .first = count_};
      count_ += layer.scales.count();
      layers_.emplace(site.name, std::move(layer));
    }
  }
  if (Rotation rotation = stored_rotation(reader, config, pool); !rotation.stream.empty()) {
    // The configuration that the file itself has is needed only for whether it has a head.
    ModelConfig stored = config;
    stored.tied_embeddings = !source_.has(kHead);
    rotated_ = std::make_unique<RotatedSource>(pool, stored, *this, std::move(rotation),
                                               RotatedPart::kEnds);
  }
  if (layers_.empty())
    throw Error(fmt::format("{}: expected quantized linear layers to train, found none",
                            reader.path().string()));
}

void TunedModel::set(std::span<const double> factors) {
  for (auto& [name, layer] : layers_)
    layer.scales.set(factors.subspan(layer.first, layer.scales.count()));
}

void TunedModel::add_gradient(const std::string& name, MatrixView<const float> W,
                              MatrixView<const float> dW, std::span<double> gradient) const {
  const auto found = layers_.find(name);
  if (found == layers_.end()) return;
  const Layer& layer = found->second;
  layer.scales.add_gradient(pool_, W, dW, gradient.subspan(layer.first, layer.scales.count()));
}

QuantizedTensor TunedModel::tensor(const std::string& name, const LayerScales& scales) const {
  QuantizedTensor tensor = reader_.quantized(name, pool_);
  scales.apply(tensor);
  return tensor;
}

Matrix<float> TunedModel::matrix(const std::string& name) const {
  const auto found = layers_.find(name);
  if (found == layers_.end()) return source_.matrix(name);
  Matrix<float> W = dequantize(tensor(name, found->second.scales));
  for (const float w : W.values()) {
    if (!std::isfinite(w))
      throw Error(fmt::format("{}: tensor '{}': expected finite values, found {}",
                              reader_.path().string(), name, w));
  }
  return W;
}

void TunedModel::write(ContainerWriter& writer) const {
  for (const Section& section : reader_.sections()) {
    const std::string& name = section.name;
    if (section.kind == SectionKind::kText) {
      if (name != kManifestName) writer.add_text(name, reader_.text(name));
    } else if (section.kind != SectionKind::kQuantized) {
      writer.add_raw(name, section.kind, section.shape, reader_.raw(name));
    } else {
      const auto blob = reader_.bytes(section);
      const auto found = layers_.find(name);
      if (found == layers_.end() || !found->second.scales.changed()) {
        writer.add_quantized(name, section.rows(), section.cols(), blob);
      } else {
        const CodingPlan plan{.coder = coder_of(blob, name)};
        writer.add_quantized(name, section.rows(), section.cols(),
                             encode_tensor(tensor(name, found->second.scales), plan, pool_));
      }
    }
  }
}

double TunedModel::bits(const std::vector<Section>& sections) const {
  double bits = 0, weights = 0;
  for (const Section& section : sections) {
    if (!layers_.contains(section.name)) continue;
    bits += 8 * static_cast<double>(section.file_bytes());
    weights += static_cast<double>(section.rows() * section.cols());
  }
  return bits / weights;
}

}  // namespace watersic
