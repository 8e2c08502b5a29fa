#include "runtime/load_network.h"

namespace watersic {

Network load_network(const OpenModel& model, WeightFormat /*format*/, ThreadPool& /*pool*/,
                     const ProgressFn& progress) {
  return dense_network(model.config(), model.weights(), progress);
}

int64_t network_bytes(const OpenModel& model, WeightFormat /*format*/) {
  int64_t weights = 0;
  for (const ModelTensor& tensor : model_tensors(model.config()))
    weights += tensor.shape.rows * tensor.shape.cols;
  return weights * static_cast<int64_t>(sizeof(float));
}

}  // namespace watersic
