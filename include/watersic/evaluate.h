// How good a model is: perplexity of a text, and how far it is from a reference.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "watersic/names.h"
#include "watersic/progress.h"
#include "watersic/running.h"

namespace watersic {

// docs/conventions.md says exactly what each scores.
enum class Convention { kHuggingFace, kLlamaCpp };
template <>
inline constexpr std::array names_of<Convention>{"hf", "llama.cpp"};

struct EvaluateOptions {
  Convention convention = Convention::kHuggingFace;
  int64_t context = 0;  // tokens in a window; 0: 2048 (hf) or 512 (llama.cpp), at most the model's
  std::filesystem::path reference;  // a second model, for KL and top-1; empty for none
  // Where the reference's states behind its last block are kept for other evaluations against it on
  // the same text: taken from there if they are there, else put there, four bytes for each token
  // and hidden feature. Empty: the reference runs along.
  std::filesystem::path reference_states;
  WeightFormat weights = WeightFormat::kFloat32;  // of the model; a reference is float32
  bool wikitext = false;  // the text is wiki.test.raw: rebuild what the papers score
  int threads = 0;
};

// A mean, or a function of means, and its standard error.
struct Estimate {
  double value = 0, error = 0;
};

// How values are spread: percentiles, linear between neighbours in order.
struct Percentiles {
  double minimum = 0, p0_1 = 0, p1 = 0, p5 = 0, p10 = 0, p25 = 0, median = 0;
  double p75 = 0, p90 = 0, p95 = 0, p99 = 0, p99_9 = 0, maximum = 0;
};

// What llama.cpp's --kl-divergence prints of a model (Q) and its reference (P), over the scored
// tokens. All logarithms are natural.
struct KlStatistics {
  Estimate kl;  // KL(P || Q), nats
  Percentiles kl_percentiles;

  Estimate perplexity, reference_perplexity;
  Estimate ln_perplexity_ratio, perplexity_ratio;  // of Q to P
  Estimate perplexity_difference;                  // Q - P
  double correlation =
      0;  // of ln Q(t) and ln P(t), t the tokens; NaN where one of them is constant

  // Q(t) - P(t), t the token that is there: probabilities, not percents.
  Estimate delta_p, delta_p_rms;
  Percentiles delta_p_percentiles;

  Estimate same_top;  // share of tokens at which P and Q find the same token most likely
};

struct EvaluateResult {
  std::string model, model_id, reference, reference_id;
  WeightFormat weights = WeightFormat::kFloat32;
  Convention convention = Convention::kHuggingFace;
  int64_t context = 0, windows = 0;
  int64_t tokens = 0;        // scored
  std::string text_hash;     // XXH3-64 of the text as scored, in hex
  double nll = 0;            // nats a scored token (hf: mean of the windows' means)
  double perplexity = 0;     // exp(nll)
  double bits_per_byte = 0;  // nll in bits, times tokens per byte of the whole text
  bool has_reference = false;
  double reference_perplexity = 0;
  double kl_bits = 0;  // mean KL(reference || model), bits a scored token
  double top1 = 0;     // share of scored tokens with the same most likely next token
  KlStatistics kl_statistics;
  double seconds = 0;
};

// `model`: a checkpoint (a folder or a GGUF file) or a .wsic file. `text`: a UTF-8 file. Both
// models run over the same windows, some of them at a time: memory goes with the model, not with
// the text.
EvaluateResult evaluate(const std::filesystem::path& model, const std::filesystem::path& text,
                        const EvaluateOptions& options, const ProgressFn& progress = {});

std::string to_json(const EvaluateResult& result);

}  // namespace watersic
