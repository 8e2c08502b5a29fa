#include "watersic/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>

#include "base/hash.h"
#include "eval/kl_statistics.h"
#include "eval/score.h"
#include "eval/windows.h"
#include "io/json.h"
#include "io/text.h"
#include "runtime/load_network.h"
#include "runtime/open_model.h"
#include "watersic/error.h"
#include "watersic/version.h"

namespace watersic {
namespace {

// Sums of the scores, as the convention wants them.
void summarise(const std::vector<TokenScore>& scores, const ScoredWindows& windows,
               EvaluateResult& result) {
  // Windows are of one length, so the mean of their means is the mean: kept as the papers write it.
  const auto each = static_cast<size_t>(windows.length - 1 - windows.first);
  double nll = 0, reference = 0, kl = 0, same = 0;
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    double window_nll = 0, window_reference = 0;
    for (size_t i = w * each; i < (w + 1) * each; ++i) {
      window_nll += scores[i].nll;
      window_reference += scores[i].reference_nll;
      kl += scores[i].kl;
      same += scores[i].same_top ? 1 : 0;
    }
    nll += window_nll / static_cast<double>(each);
    reference += window_reference / static_cast<double>(each);
  }
  const auto count = static_cast<double>(windows.ids.size()),
             tokens = static_cast<double>(scores.size());
  result.nll = nll / count;
  result.perplexity = std::exp(result.nll);
  if (!result.has_reference) return;
  result.reference_perplexity = std::exp(reference / count);
  result.kl_bits = kl / tokens / std::numbers::ln2;
  result.top1 = same / tokens;
  result.kl_statistics = kl_statistics(scores);
}

// Names what a reference's states are made from.
std::string states_identity(const std::string& model_id, const ScoredWindows& windows) {
  std::string parts = fmt::format("{} {} {}", kVersion, model_id, windows.length);
  for (const auto& window : windows.ids) {
    parts.append(reinterpret_cast<const char*>(window.data()), window.size() * sizeof(int32_t));
  }
  return hex_hash(parts);
}

}  // namespace

EvaluateResult evaluate(const std::filesystem::path& model_path,
                        const std::filesystem::path& text_path, const EvaluateOptions& options,
                        const ProgressFn& progress) {
  const auto start = std::chrono::steady_clock::now();
  ThreadPool pool(options.threads);
  const Context context(pool, progress);
  const auto model = open_model(model_path, context);
  const auto reference =
      options.reference.empty() ? nullptr : open_model(options.reference, context);
  std::string text = read_text(text_path);
  if (options.wikitext) text = wikitext_as_scored(text);
  // llama.cpp's perplexity tool drops the newline that ends a file.
  if (options.convention == Convention::kLlamaCpp && text.ends_with('\n')) text.pop_back();

  EvaluateResult result{.model = model_path.string(),
                        .model_id = model->model_id(),
                        .weights = options.weights,
                        .convention = options.convention};
  result.text_hash = hex_hash(text);
  const int64_t most = model->config().max_positions;
  const int64_t standard = options.convention == Convention::kLlamaCpp ? 512 : 2048;
  result.context = options.context > 0 ? options.context : std::min(standard, most);
  if (result.context > most) {
    throw Error(
        fmt::format("context: expected at most {}, the model's, found {}", most, result.context));
  }

  const Tokenizer tokenizer = model->tokenizer();
  const std::vector<int32_t> ids = tokenizer.encode(text);
  const ScoredWindows windows =
      scored_windows(ids, options.convention, result.context,
                     tokenizer.adds_bos() ? tokenizer.bos_id() : std::nullopt, text_path.string());
  result.windows = static_cast<int64_t>(windows.ids.size());
  result.tokens = windows.scored();
  if (reference) {
    result.has_reference = true;
    result.reference = options.reference.string();
    result.reference_id = reference->model_id();
    if (reference->config().vocabulary != model->config().vocabulary) {
      throw Error(fmt::format("{}: expected the reference's vocabulary of {}, found {}",
                              model_path.string(), reference->config().vocabulary,
                              model->config().vocabulary));
    }
    if (reference->config().max_positions < result.context) {
      throw Error(fmt::format("{}: context: expected at most {}, the reference's, found {}",
                              options.reference.string(), reference->config().max_positions,
                              result.context));
    }
  }

  const auto running = forward_model(context, *model, options.weights);
  const ScoredModel scored{running.get()};
  std::unique_ptr<const ForwardModel> running_reference;
  ScoredModel scored_reference;
  std::optional<StateFile> states;
  if (reference) {
    running_reference = forward_model(pool, *reference, WeightFormat::kFloat32);
    scored_reference = {running_reference.get()};
    if (!options.reference_states.empty()) {
      const int64_t rows = result.windows * windows.length;
      states.emplace(options.reference_states, states_identity(result.reference_id, windows), rows,
                     reference->config().hidden);
      scored_reference.states = &*states;
    }
  }
  const std::vector<TokenScore> scores =
      score_windows(context, windows, scored, reference ? &scored_reference : nullptr);
  summarise(scores, windows, result);

  // Over the whole text, so that what tokenizers cut differently is counted alike.
  const auto text_tokens = static_cast<double>(ids.size() - (tokenizer.adds_bos() ? 1 : 0));
  result.bits_per_byte =
      result.nll / std::numbers::ln2 * text_tokens / static_cast<double>(text.size());
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::string to_json(const EvaluateResult& r) {
  Json json = {
      {"schema", "watersic.eval/1"},   {"model", r.model},
      {"model_id", r.model_id},        {"convention", name_of(r.convention)},
      {"weights", name_of(r.weights)}, {"context", r.context},
      {"windows", r.windows},          {"tokens", r.tokens},
      {"text_hash", r.text_hash},      {"nll", r.nll},
      {"perplexity", r.perplexity},    {"bits_per_byte", r.bits_per_byte},
      {"seconds", r.seconds},
  };
  if (r.has_reference) {
    json["reference"] = r.reference;
    json["reference_id"] = r.reference_id;
    json["reference_perplexity"] = r.reference_perplexity;
    json["kl_bits"] = r.kl_bits;
    json["top1"] = r.top1;
    json["kl_statistics"] = to_json(r.kl_statistics);
  }
  return json.dump(2) + "\n";
}

}  // namespace watersic
