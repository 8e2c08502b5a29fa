// Text from a model: what follows a prompt, or what it answers in a conversation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "watersic/progress.h"
#include "watersic/running.h"

namespace watersic {

// How tokens are chosen, each of the distribution that the one before leaves: at a temperature
// (0: always the most likely token), of the k most likely (0: all), of the fewest that have the
// probability top_p together, of those with min_p times the largest probability. Left open: as the
// model's generation_config.json says, else 1, 0, 1 and 0.
struct Sampling {
  std::optional<double> temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p, min_p;
  uint64_t seed = 1;
};

struct GenerateOptions {
  // The prompt is what a user says; it is put into the chat template that the model carries.
  bool chat = false;
  std::string system;  // what the system says before it, if not empty; chat only
  // At most so many; 0: 256, or what the model's context leaves if that is less.
  int64_t tokens = 0;
  Sampling sampling;
  int threads = 0;
  WeightFormat weights = WeightFormat::kPacked;
  CacheType cache = CacheType::kFloat16;
};

struct GenerateResult {
  std::vector<int32_t> prompt;  // as the model saw it
  std::vector<int32_t> ids;     // generated, without the one that ended the text
  std::string text;             // of those
  bool ended = false;           // by the model; else by `tokens` or by the caller
  double load_seconds = 0, prompt_seconds = 0, seconds = 0;  // the last: of what was generated
};

// Takes a piece of the text as it comes: valid UTF-8, not empty. False ends the text.
using TextFn = std::function<bool(std::string_view)>;

// `model`: a checkpoint (a folder or a GGUF file) or a .wsic file, opened for this one run; to do
// more than one thing with it, see session.h. The text ends where the model says so: by an
// end-of-text token of its configuration, or in a chat by the token that its template puts behind
// an answer. Throws Error, also where the prompt and `tokens` are more than the model's context,
// where there is no chat template, or where the model does not fit into the memory: this before
// anything is loaded. `progress` also tells, in a detail line, what memory is needed.
GenerateResult generate(const std::filesystem::path& model, const std::string& prompt,
                        const GenerateOptions& options, const TextFn& on_text = {},
                        const ProgressFn& progress = {});

}  // namespace watersic
