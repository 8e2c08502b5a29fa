// Writes DIRECTORY/samples.wsic with coded tensors of every kind, and beside it what each
// dequantizes to, as NAME.f32: what another decoder must give.
//
//   write_samples DIRECTORY
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"
#include "container/write_container.h"
#include "support/bitshift_tensors.h"
#include "support/sample_tensors.h"

using namespace watersic;  // NOLINT: a program
namespace fs = std::filesystem;

namespace {

class Samples {
 public:
  explicit Samples(const fs::path& directory)
      : directory_(directory), writer_(directory / "samples.wsic") {}

  TensorSummary add(const std::string& name, const QuantizedTensor& tensor,
                    const CodingPlan& plan = {}) {
    const auto blob = encode_tensor(tensor, plan, pool_);
    writer_.add_quantized(name, tensor.rows, tensor.cols, blob);
    const Matrix<float> V = dequantize(tensor);
    std::ofstream out(directory_ / (name + ".f32"), std::ios::binary);
    out.write(reinterpret_cast<const char*>(V.data()),
              static_cast<std::streamsize>(V.values().size_bytes()));
    return summarize_tensor(blob, name);
  }
  void add_texts() { writer_.add_text("config.json", "{}"); }
  void finish() { writer_.finish("write_samples", Json::object()); }

 private:
  fs::path directory_;
  ContainerWriter writer_;
  ThreadPool pool_;
};

uint16_t random_half(Rng& rng, double octaves, int zeros) {
  const uint16_t h = half_from_float(static_cast<float>(std::exp2(octaves * rng.normal())));
  return static_cast<uint16_t>(h >> zeros << zeros);
}

// Scales of rows and columns, some columns dead.
void dress(QuantizedTensor& q, uint64_t seed) {
  Rng rng(seed);
  for (int64_t r = 0; r < q.rows; ++r) q.row_scale.half.push_back(random_half(rng, 0.05, 4));
  q.column_scale.exponent = -7;
  for (int64_t i = 0; i < q.live(); ++i) {
    double squares = 0.01;
    for (int64_t r = 0; r < q.rows; ++r) squares += std::pow(q.codes(r, i), 2);
    const double scale = std::sqrt(static_cast<double>(q.rows) / squares) *
                         std::exp2(0.1 * rng.normal()) * (seed % 2 == 0 && i % 7 == 0 ? -1 : 1);
    q.column_scale.half.push_back(
        static_cast<uint16_t>(half_from_float(static_cast<float>(scale)) & ~31U));
  }
  q.dead = {0, 3, static_cast<int32_t>(q.live()) + 2};
  q.cols = q.live() + 6;  // live() counted all
}

void require(bool good, const char* what) {
  if (!good) throw Error(std::string("the samples do not show ") + what);
}

void write(const fs::path& directory) {
  fs::create_directories(directory);
  Samples samples(directory);
  samples.add_texts();
  for (const int trellis : {0, 4, 8, 16, 32, 64, 128, 256}) {
    const std::string t = std::to_string(trellis);
    const auto sample = [&](double spread, double columns, double rows) {
      return gaussian({.rows = 150,
                       .cols = 90,
                       .spread = spread,
                       .column_octaves = columns,
                       .row_octaves = rows,
                       .trellis = trellis,
                       .segment_rows = 60,
                       .seed = static_cast<uint64_t>(trellis + 1)});
    };
    CodingPlan pooled;
    pooled.coder = Coder::kPooled;
    require(samples.add("pooled." + t, sample(1.5, 0, 0), pooled).classes == 1, "one class");
    QuantizedTensor q = sample(1.0, 1.0, 0);
    dress(q, static_cast<uint64_t>(trellis / 4));
    const TensorSummary columns = samples.add("columns." + t, q);
    require(columns.classes > 2 && !columns.row_classes, "classes of columns");
    q = sample(0.7, 0.8, 0.8);
    require(samples.add("rows." + t, q).row_classes, "classes of rows");
    for (int64_t r = 0; r < q.rows; ++r) {
      for (int64_t i = 0; i < 90; ++i)
        if (i % 9 == 0 || r % 50 == 49) q.codes(r, i) = 0;
    }
    if (trellis == 0) samples.add("zeros", q);
    q = sample(2.0, 0.5, 0);
    q.codes(149, 3) += 4 * 123456;  // the last of a column: no state depends on it
    q.codes(59, 20) -= 4 * 7654321;
    q.codes(149, 21) -= 400;
    samples.add("outliers." + t, q);
    samples.add("outliers_pooled." + t, q, pooled);
    samples.add("wide." + t, sample(300, 0.3, 0));
  }

  QuantizedTensor grouped = gaussian(40, 30, 1.5);
  grouped.groups = 4;
  Rng rng(5);
  for (int i = 0; i < 30; ++i) grouped.column_group.push_back(i / 8);
  for (int i = 0; i < 160; ++i) grouped.group_scale.half.push_back(random_half(rng, 1, 0));
  samples.add("groups", grouped);
  QuantizedTensor heads = gaussian(60, 30, 1.5);
  heads.strands = 4;
  dress(heads, 6);
  samples.add("heads", heads);
  // Rotations: of a power of two of columns, and of another number.
  for (const int64_t cols : {64, 90}) {
    QuantizedTensor rotated = gaussian(40, cols, 1.5);
    rotated.rotation = 12345;
    samples.add("rotated." + std::to_string(cols), rotated);
  }
  // Not Gaussian: two values, and integers with holes.
  QuantizedTensor odd = gaussian(300, 200, 5);
  for (int32_t& v : odd.codes.values()) v = v > 2 ? 13 : v > -4 ? -5 : 2 * v;
  samples.add("holes", odd);
  odd.column_scale = {.exponent = 3, .half = {0x3C01}};
  CodingPlan plan;
  plan.lanes = 64;
  plan.segment_rows = 70;
  plan.group_columns = 77;
  samples.add("tiles", odd, plan);
  for (const int memory : {8, 12, 16}) {
    for (const int64_t rows : {150, 256}) {
      samples.add(
          "runnable." + std::to_string(memory) + "." + std::to_string(rows),
          bitshift_tensor({.rows = rows, .live = 70, .memory = memory, .ordered = rows == 150}));
    }
  }
  samples.add("empty", tensor_of(Matrix<int32_t>(3, 0)));
  samples.finish();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    write(argv[1]);
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
