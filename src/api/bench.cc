#include "watersic/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "api/model_impl.h"
#include "base/memory.h"
#include "base/rng.h"
#include "engine/generation.h"
#include "io/json.h"
#include "watersic/error.h"

namespace watersic {
namespace {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

BenchResult bench(const std::filesystem::path& path, const BenchOptions& options,
                  const ProgressFn& progress) {
  if (options.repeat < 1)
    throw Error(fmt::format("repetitions: expected 1 or more, found {}", options.repeat));
  reset_peak_memory();
  const Model model(path, {.threads = options.threads, .weights = options.weights});
  Model::Impl& impl = model.impl();
  const ModelConfig& config = impl.config();
  const int64_t prompt =
      options.prompt > 0 ? options.prompt : std::min<int64_t>(512, config.max_positions);
  const int64_t tokens =
      options.tokens > 0 ? options.tokens : std::min<int64_t>(128, config.max_positions);
  const int64_t context = impl.fitting_context({.context = std::max(prompt, tokens)});
  BenchResult result{.model = impl.opened->name(),
                     .weights = options.weights,
                     .cache = options.cache,
                     .threads = impl.pool.threads(),
                     .prompt_tokens = prompt,
                     .tokens = tokens};
  const Network* network = nullptr;
  result.load_seconds = seconds_of([&] { network = &impl.load(context, options.cache, progress); });
  const MemoryUse use = impl.memory(context, options.cache);
  result.weight_bytes = use.weights;
  int64_t weights = 0;
  for (const ModelTensor& tensor : model_tensors(config))
    weights += tensor.shape.rows * tensor.shape.cols;
  result.bits_per_weight = 8 * static_cast<double>(use.weights) / static_cast<double>(weights);
  result.scratch_bytes = use.scratch;

  Engine engine(impl.pool, *network);
  Sequence sequence(config, options.cache, context);
  Rng rng(1);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < prompt; ++i)
    ids.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocabulary))));
  std::vector<double> prompt_rates, rates;
  for (int round = 0; round < options.repeat; ++round) {
    sequence.rewind(0);
    prompt_rates.push_back(static_cast<double>(prompt) / seconds_of([&] {
                             engine.advance({.sequence = &sequence, .ids = ids});
                           }));
    sequence.rewind(0);
    const Generation text = generate_tokens(engine, sequence, std::span(ids).first(1),
                                            {.sampler = {.temperature = 0}, .tokens = tokens}, rng,
                                            [](int32_t) { return true; });
    // As many passes as tokens: the first one's is that of the prompt.
    rates.push_back(static_cast<double>(tokens) / (text.prompt_seconds + text.seconds));
    if (progress)
      progress({.stage = "measuring",
                .unit = "repetitions",
                .done = round + 1,
                .total = options.repeat,
                .detail = ""});
  }
  result.prompt_tokens_per_second = median(prompt_rates);
  result.tokens_per_second = median(rates);
  result.cache_bytes = sequence.bytes();
  result.peak_bytes = peak_memory();
  return result;
}

std::string to_json(const BenchResult& r) {
  return Json({{"model", r.model},
               {"weights", name_of(r.weights)},
               {"cache", name_of(r.cache)},
               {"threads", r.threads},
               {"prompt_tokens", r.prompt_tokens},
               {"tokens", r.tokens},
               {"load_seconds", r.load_seconds},
               {"prompt_tokens_per_second", r.prompt_tokens_per_second},
               {"tokens_per_second", r.tokens_per_second},
               {"weight_bytes", r.weight_bytes},
               {"bits_per_weight", r.bits_per_weight},
               {"cache_bytes", r.cache_bytes},
               {"scratch_bytes", r.scratch_bytes},
               {"peak_bytes", r.peak_bytes}})
             .dump(2) +
         "\n";
}

}  // namespace watersic
