#include "runtime/load_network.h"

namespace watersic {

Network load_network(const OpenModel& model, WeightFormat format, const ProgressFn& progress) {
  return make_network(
      model.config(), model.weights(),
      [&](const std::string& weight, const std::string& bias) {
        return model.layer(weight, bias, format);
      },
      progress);
}

std::unique_ptr<const ForwardModel> forward_model(const OpenModel& model, WeightFormat format,
                                                  const ProgressFn& progress) {
  if (format == WeightFormat::kFloat32)
    return std::make_unique<LoadedModel>(model.config(), model.weights());
  return std::make_unique<Network>(load_network(model, format, progress));
}

}  // namespace watersic
