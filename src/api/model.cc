#include "watersic/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/threads.h"
#include "checkpoint/synth.h"
#include "container/read_container.h"
#include "engine/sample_sequences.h"
#include "export/gguf.h"
#include "export/safetensors.h"
#include "io/text.h"
#include "quant/families.h"
#include "runtime/open_model.h"
#include "watersic/error.h"
#include "watersic/npy.h"

namespace watersic {

std::vector<int32_t> tokenize(const std::filesystem::path& model, const std::string& text,
                              bool special) {
  ThreadPool pool(1);
  return open_model(model, pool)->tokenizer().encode(text, special);
}

std::string sample_text(const std::filesystem::path& path, int64_t tokens, uint64_t seed,
                        int threads, const ProgressFn& progress) {
  ThreadPool pool(threads);
  const Context context(pool, progress);
  const auto model = open_model(path, context);
  const ModelConfig& config = model->config();
  const Tokenizer tokenizer = model->tokenizer();
  const auto first = config.first_token();
  if (!first)
    throw Error(
        fmt::format("{}: the model names neither a BOS nor an end-of-text token to sample from",
                    path.string()));
  // The first token of each sequence is given, not sampled.
  const int64_t length = std::min(config.max_positions, tokens + 1);
  const SampleOptions options{.count = (tokens + length - 2) / std::max<int64_t>(1, length - 1),
                              .length = length,
                              .first_token = *first,
                              .seed = seed};
  std::string text;
  int64_t left = tokens;
  for (const auto& sequence : sample_sequences(context, config, model->weights(), options)) {
    const auto count = static_cast<size_t>(std::min<int64_t>(left, length - 1));
    // A token may be cut inside a character, and the model may put bytes together that are none.
    text += replace_invalid_utf8(tokenizer.decode(std::span(sequence).subspan(1, count), true));
    text += '\n';
    left -= static_cast<int64_t>(count);
  }
  return text;
}

void verify(const std::filesystem::path& file) {
  ThreadPool pool;
  ContainerReader(file).verify(pool);
}

void export_safetensors(const std::filesystem::path& model, const std::filesystem::path& folder,
                        ExportType type, const ProgressFn& progress) {
  ThreadPool pool;
  write_safetensors(*open_model(model, {pool, progress}), folder, type, progress);
}

void export_gguf(const std::filesystem::path& model, const std::filesystem::path& file,
                 ExportType type, const std::string& pre, const ProgressFn& progress) {
  ThreadPool pool;
  write_gguf(*open_model(model, {pool, progress}), file, type, pre, progress);
}

void synthesize_model(const std::string& like, int64_t layers, uint64_t seed,
                      const std::filesystem::path& folder,
                      const std::filesystem::path& tokenizer_from) {
  ThreadPool pool;
  const Json config = synth_config(like, layers > 0 ? std::optional(layers) : std::nullopt);
  synthesize(pool, config, folder, {.seed = seed, .tokenizer = tokenizer_from});
}

void synthesize_layer(const std::string& family, int64_t rows, int64_t cols, uint64_t seed,
                      const std::filesystem::path& folder) {
  ThreadPool pool;
  const LayerData layer = make_layer(pool, family, rows, cols, seed);
  std::filesystem::create_directories(folder);
  write_npy<float>(folder / "W.npy", layer.W);
  write_npy<double>(folder / "S.npy", layer.S);
}

}  // namespace watersic
