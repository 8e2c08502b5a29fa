// A fair original for comparisons, from a model that is known only as it was quantized: weights on
// a grid would be found again by formats of the same blocks, which then lose nothing, whatever they
// are worth. So each weight moves by seeded noise, uniform within half a step of its block: a model
// of the same quality that no format fits by birth, as a checkpoint in BF16.
//
//   study_off_grid MODEL.gguf OUT_DIR [SEED [SHARE]]
//
// SHARE of that noise, 1 by default. Of a model that 4 bits have hurt it is not small:
// SmolLM2-135M's Q4_1 has a perplexity of 45.2 on held-out books, and 58.9 with all of the noise.
//
// For files of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0, whose blocks of 32 begin with their step; what is
// in F32, F16 or BF16 stays as it is. Only tests and measurements want this.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <stdexcept>

#include "base/half.h"
#include "base/rng.h"
#include "checkpoint/checkpoint_writer.h"
#include "checkpoint/gguf_layout.h"
#include "checkpoint/open_checkpoint.h"
#include "container/common_texts.h"
#include "io/gguf.h"
#include "watersic/error.h"

using namespace watersic;  // NOLINT: a program

namespace {

bool begins_with_its_step(GgufType type) {
  return type == GgufType::kQ4_0 || type == GgufType::kQ4_1 || type == GgufType::kQ5_0 ||
         type == GgufType::kQ5_1 || type == GgufType::kQ8_0;
}

// The step of each block of a row.
std::vector<float> steps(const GgufFile& file, const GgufFile::Tensor& tensor, int64_t row) {
  const auto size = block_bytes(tensor.type), length = row_bytes(tensor.type, tensor.cols);
  const auto bytes = file.bytes(tensor).subspan(static_cast<size_t>(row) * length, length);
  std::vector<float> out;
  for (size_t at = 0; at < bytes.size(); at += size) {
    const auto half = static_cast<uint16_t>(std::to_integer<unsigned>(bytes[at]) |
                                            std::to_integer<unsigned>(bytes[at + 1]) << 8);
    out.push_back(std::fabs(float_from_half(half)));
  }
  return out;
}

// In the order of the file.
Matrix<float> moved(const GgufFile& file, const GgufFile::Tensor& tensor, uint64_t seed,
                    double share) {
  Matrix<float> values = file.read(tensor);
  if (!is_quantized(tensor.type)) return values;
  if (!begins_with_its_step(tensor.type))
    throw Error(file.path().string() + ": tensor '" + tensor.name +
                "': expected a type whose blocks begin with their step, found " +
                to_string(tensor.type));
  Rng rng(seed);
  for (int64_t i = 0; i < values.rows(); ++i) {
    const std::vector<float> step = steps(file, tensor, i);
    for (int64_t j = 0; j < values.cols(); ++j)
      values(i, j) += step[static_cast<size_t>(j / block_values(tensor.type))] *
                      static_cast<float>(share * (rng.uniform() - 0.5));
  }
  return values;
}

void run(const std::string& model, const std::string& folder, uint64_t seed, double share) {
  const auto checkpoint = open_checkpoint(model);
  const ModelConfig& config = checkpoint->config();
  const GgufFile file(model);
  CheckpointFolder out{.tensors = model_tensors(config)};
  for (const char* name : kCarriedTexts)
    if (auto text = checkpoint->text(name)) out.texts[name] = std::move(*text);
  write_checkpoint(folder, out, [&](size_t k, SafetensorsWriter& writer) {
    const std::string& name = out.tensors[k].name;
    const GgufFile::Tensor* tensor = file.find(gguf_name(name));
    if (tensor == nullptr) throw Error(model + ": found no tensor '" + gguf_name(name) + "'");
    const Matrix<float> values = moved(file, *tensor, seed + k, share);
    const bool permuted = is_permuted(config, name) && !tensor->is_vector;
    for (int64_t i = 0; i < values.rows(); ++i)
      writer.write(values.row(permuted ? gguf_row(config, i) : i));
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 5) {
    std::cerr << "usage: study_off_grid MODEL.gguf OUT_DIR [SEED [SHARE]]\n";
    return 2;
  }
  try {
    run(argv[1], argv[2], argc > 3 ? std::stoull(argv[3]) : 1, argc > 4 ? std::stod(argv[4]) : 1);
  } catch (const std::exception& error) {
    std::cerr << "study_off_grid: " << error.what() << '\n';
    return 1;
  }
}
