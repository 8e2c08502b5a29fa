// A .wsic file's model with scales of our own: a source of weights whose integers are decoded from
// the file whenever a tensor is asked for, so that in memory are its scales alone.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "container/read_container.h"
#include "container/write_container.h"
#include "finetune/layer_scales.h"
#include "model/config.h"
#include "model/weights.h"
#include "runtime/container_source.h"

namespace watersic {

class TunedModel : public WeightSource {
 public:
  // `reader` and `pool` must outlive it. Throws Error where no linear layer of a block is
  // quantized.
  TunedModel(const ContainerReader& reader, const ModelConfig& config, ThreadPool& pool);

  // One factor for each scale of the quantized linear layers, in the order of the model.
  size_t count() const { return count_; }
  void set(std::span<const double> factors);
  // As LayerScales::add_gradient, for a layer whose weights are as this source gives them; nothing
  // for one that is not quantized.
  void add_gradient(const std::string& name, MatrixView<const float> W, MatrixView<const float> dW,
                    std::span<double> gradient) const;

  // What a forward pass sees: this source, or where the file has a basis, it with its ends turned.
  const WeightSource& weights() const {
    if (rotated_) return *rotated_;
    return *this;
  }

  // Everything but the manifest, as it stands in the file: integers coded again with the scales,
  // sections that did not change copied.
  void write(ContainerWriter& writer) const;

  // Bits a weight that a list of sections spends on the layers that are trained.
  double bits(const std::vector<Section>& sections) const;

  std::vector<std::string> names() const override { return source_.names(); }
  bool has(const std::string& name) const override { return source_.has(name); }
  Shape shape(const std::string& name) const override { return source_.shape(name); }
  Matrix<float> matrix(const std::string& name) const override;
  Matrix<float> rows(const std::string& name, const std::vector<int32_t>& rows) const override {
    return source_.rows(name, rows);
  }

 private:
  struct Layer {
    LayerScales scales;
    size_t first = 0;  // of its factors
  };

  QuantizedTensor tensor(const std::string& name, const LayerScales& scales) const;

  const ContainerReader& reader_;
  ThreadPool& pool_;
  ContainerSource source_;
  std::unique_ptr<RotatedSource> rotated_;
  std::map<std::string, Layer> layers_;
  size_t count_ = 0;
};

}  // namespace watersic
