// What else one does with a model: a checkpoint (a Hugging Face folder or a GGUF file), or a .wsic
// file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "watersic/names.h"
#include "watersic/options.h"
#include "watersic/progress.h"

namespace watersic {

// Token ids, as Hugging Face's encode gives them; `special`: with the tokens that the tokenizer
// adds.
std::vector<int32_t> tokenize(const std::filesystem::path& model, const std::string& text,
                              bool special = true);

// Text of `tokens` tokens that the model samples at temperature 1, in as many sequences of its
// context as it takes, each from BOS.
std::string sample_text(const std::filesystem::path& model, int64_t tokens, uint64_t seed,
                        int threads = 0, const ProgressFn& progress = {});

// What a .wsic file holds, from its head and the heads of its tensors; no integer is decoded.
struct Inspection {
  struct Tensor {
    std::string name, kind;  // "quantized", "bf16", "f16"
    int64_t rows = 0, cols = 0;
    int64_t bytes = 0;      // in the file, with what the container adds
    double bits = 0;        // a weight
    double coded_bits = 0;  // of quantized tensors
    int64_t dead = 0, tiles = 0, lanes = 0, tables = 0;  // of quantized tensors
  };
  std::string file, model_id, producer, architecture, method;
  std::string options;  // JSON: what the file was made with
  int64_t file_bytes = 0, quantized_weights = 0, kept_bytes = 0, text_bytes = 0;
  double bits = 0;                 // a weight of the layers; an embedding and a head don't count
  std::vector<std::string> texts;  // "config.json", ...
  std::vector<Tensor> tensors;
};
Inspection inspect(const std::filesystem::path& file);
std::string to_json(const Inspection& inspection);
std::string to_text(const Inspection& inspection);  // a table for people

// Checks every byte of a .wsic file against its checksums. Throws Error, naming what is damaged.
void verify(const std::filesystem::path& file);

// How weights are written by an export. kQ8_0 (GGUF only): a half and 32 signed bytes for each 32
// weights of a row, 8.5 bits a weight.
enum class ExportType { kBF16, kF16, kF32, kQ8_0 };
template <>
inline constexpr std::array names_of<ExportType>{"bf16", "f16", "f32", "q8_0"};

// A checkpoint folder that transformers and vLLM load as the original model: its names, its
// configuration and tokenizer, its weights in shards of at most 4 GB with an index. `folder` must
// be new or empty.
void export_safetensors(const std::filesystem::path& model, const std::filesystem::path& folder,
                        ExportType type, const ProgressFn& progress = {});

// A GGUF file, for llama.cpp and what is built on it. `pre`: llama.cpp's name for how the tokenizer
// cuts a text, where it can't be found from tokenizer.json; empty to find it.
void export_gguf(const std::filesystem::path& model, const std::filesystem::path& file,
                 ExportType type, const std::string& pre = "", const ProgressFn& progress = {});

// A checkpoint of the true shapes of a known model with random weights, for measuring time and
// memory. `like`: llama-3.2-1b, llama-3-8b, qwen3-8b. `layers` 0: all.
void synthesize_model(const std::string& like, int64_t layers, uint64_t seed,
                      const std::filesystem::path& folder,
                      const std::filesystem::path& tokenizer_from = {});

// A .wsic file of such a model without quantizing one: integers distributed as a quantizer leaves
// them at `bits` bits a weight, 3 more in embedding and head. It measures what running takes, not
// what a model says. Throws Error.
void synthesize_file(const std::string& like, int64_t layers, double bits, Layout layout,
                     uint64_t seed, const std::filesystem::path& file,
                     const std::filesystem::path& tokenizer_from = {});

// W.npy and S.npy of a known family of layers (docs/algorithm.md), the ones that results are pinned
// on.
void synthesize_layer(const std::string& family, int64_t rows, int64_t cols, uint64_t seed,
                      const std::filesystem::path& folder);

}  // namespace watersic
