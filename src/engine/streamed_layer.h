// Layers that are not held: a model larger than the memory still runs, slowly.
#pragma once

#include <string>

#include "engine/network.h"

namespace watersic {

// Loads its weights from the source whenever it is applied.
class StreamedLayer final : public LinearLayer {
 public:
  // `source` must outlive the layer. `bias`: "" where there is none.
  StreamedLayer(const WeightSource& source, std::string weight, std::string bias);

  int64_t outputs() const override { return shape_.rows; }
  int64_t inputs() const override { return shape_.cols; }
  int64_t bytes() const override { return 0; }
  void apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
             MatrixView<float> Y) const override;
  Matrix<float> rows(ThreadPool& pool, std::span<const int32_t> ids) const override;

 private:
  const WeightSource& source_;
  std::string weight_, bias_;
  WeightSource::Shape shape_;
};

// In float32: the first blocks' weights are held as far as `weight_bytes` reaches, and the output
// head always; the other blocks and an embedding that is no head are streamed.
Network network_within(const ModelConfig& config, const WeightSource& source, int64_t weight_bytes,
                       const ProgressFn& progress = {});

}  // namespace watersic
