// Weights a second of products in the bitshift layout, from cache and from memory, by rate and
// target.
#define HWY_WANT_AVX3_DL  // to list it: products are built for it
#include <string>

#include "kernels/bitshift_multiply.h"
#include "support/bitshift_samples.h"
#include "support/product_bench.h"

namespace watersic {
namespace {

struct Shape {
  int rate;
  int64_t rows, columns;
  int layers;
  bool operator==(const Shape&) const = default;
};

// Matrices of a shape; the last ones are kept, since the library sets a benchmark up several times.
const std::vector<BitshiftMatrix>& matrices_of(const Shape& shape) {
  static Shape made{};
  static std::vector<BitshiftSample> samples;
  static std::vector<BitshiftMatrix> matrices;
  if (made == shape) return matrices;
  matrices.clear();
  samples.clear();
  const BitshiftShape one{
      .rows = shape.rows, .columns = shape.columns, .segment_rows = 256, .levels = {shape.rate}};
  for (int i = 0; i < shape.layers; ++i) {
    samples.push_back(bitshift_sample(one));
    matrices.push_back(samples.back().matrix(one));
  }
  made = shape;
  return matrices;
}

int register_all() {
  const auto add = [&](const std::string& name, const Shape& shape, int64_t tokens,
                       InputPrecision precision) {
    register_for_targets("bitshift/" + name + "/" + std::to_string(shape.rate) + "quarters",
                         [=](benchmark::State& state, int64_t target) {
                           time_products(state, target, matrices_of(shape), tokens,
                                         [=](auto& pool, const auto& M, const auto& X, auto Y) {
                                           bitshift_multiply(pool, M, X, precision, {}, 0, Y);
                                         });
                         });
  };
  for (int rate = 1; rate <= kMostStageRate; ++rate) {
    add("cache", {rate, 512, 1024, 1}, 1, InputPrecision::kInt8);
    add("batch64", {rate, 1024, 2048, 1}, 64, InputPrecision::kInt8);
    if (rate % 4 == 0) {
      add("float", {rate, 512, 1024, 1}, 1, InputPrecision::kFloat);
      add("float64", {rate, 512, 1024, 1}, 64, InputPrecision::kFloat);
      add("memory", {rate, 2048, 2048, 100}, 1, InputPrecision::kInt8);
    }
  }
  return 0;
}
const int kRegistered = register_all();

}  // namespace
}  // namespace watersic
