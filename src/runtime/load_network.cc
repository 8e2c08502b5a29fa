#include "runtime/load_network.h"

namespace watersic {

Network load_network(const Context& context, const OpenModel& model, WeightFormat format) {
  return make_network(context, model.config(), model.weights(),
                      [&](const std::string& weight, const std::string& bias) {
                        return model.layer(weight, bias, format);
                      });
}

int64_t network_bytes(const OpenModel& model, WeightFormat format) {
  int64_t bytes = 0;
  for (const ModelTensor& tensor : model_tensors(model.config()))
    bytes += tensor.is_vector ? tensor.shape.cols * static_cast<int64_t>(sizeof(float))
                              : model.layer_bytes(tensor.name, format);
  return bytes;
}

std::unique_ptr<const ForwardModel> forward_model(const Context& context, const OpenModel& model,
                                                  WeightFormat format) {
  if (format == WeightFormat::kFloat32)
    return std::make_unique<LoadedModel>(model.config(), model.weights());
  return std::make_unique<Network>(load_network(context, model, format));
}

}  // namespace watersic
