// Weights a second of packed products, from cache and from memory, by width and target.
#include <string>

#include "kernels/packed_multiply.h"
#include "support/packed_samples.h"
#include "support/product_bench.h"

namespace watersic {
namespace {

// Gaussians of this spread fill `width` bits.
double spread_of(int width) { return std::exp2(width - 1) / 4.2; }

struct Shape {
  int width;
  int64_t rows, columns;
  int layers;
  bool operator==(const Shape&) const = default;
};

// Matrices of a shape; the last ones are kept, since the library sets a benchmark up several times.
const std::vector<PackedMatrix>& matrices_of(const Shape& shape) {
  static Shape made{};
  static std::vector<PackedMatrix> matrices;
  if (made == shape) return matrices;
  matrices.clear();
  for (int i = 0; i < shape.layers; ++i)
    matrices.push_back(
        packed_sample(shape.rows, shape.columns, {spread_of(shape.width)}, 0, 0).packed);
  made = shape;
  return matrices;
}

int register_all() {
  const auto add = [&](const std::string& name, const Shape& shape, int64_t tokens,
                       InputPrecision precision) {
    register_for_targets("packed/" + name + "/" + std::to_string(shape.width) + "bits",
                         [=](benchmark::State& state, int64_t target) {
                           time_products(state, target, matrices_of(shape), tokens,
                                         [=](auto& pool, const auto& M, const auto& X, auto Y) {
                                           packed_multiply(pool, M, X, precision, {}, 0, Y);
                                         });
                         });
  };
  for (int width = 2; width <= 8; ++width) {
    add("cache", {width, 512, 1024, 1}, 1, InputPrecision::kInt8);
    add("float", {width, 512, 1024, 1}, 1, InputPrecision::kFloat);
    add("batch64", {width, 1024, 2048, 1}, 64, InputPrecision::kInt8);
    add("memory", {width, 2048, 2048, 100}, 1, InputPrecision::kInt8);
  }
  return 0;
}
const int kRegistered = register_all();

}  // namespace
}  // namespace watersic
