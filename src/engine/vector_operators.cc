#include "engine/vector_operators.h"

#include "kernels/activations.h"

namespace watersic {
namespace {

class VectorOperators final : public Operators {
 public:
  void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
                std::span<float> y) const override {
    kernels::rms_norm(x, weight, epsilon, y);
  }
  void softmax(std::span<float> x) const override { kernels::softmax(x); }
  void gate_with(std::span<float> gate, std::span<const float> up) const override {
    kernels::gate_with(gate, up);
  }
  void rotate(const RopeTable& rope, int64_t position, std::span<float> head) const override {
    kernels::rotate_pairs(rope.cosines(position), rope.sines(position), head);
  }
};

}  // namespace

const Operators& vector_operators() {
  static const VectorOperators kOperators;
  return kOperators;
}

}  // namespace watersic
