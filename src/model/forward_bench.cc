// Speed of the forward pass, the output head included, on a small model with random weights.
#include "model/forward.h"

#include <benchmark/benchmark.h>

#include <nlohmann/json.hpp>

#include "support/tiny_models.h"

namespace watersic {
namespace {

ModelConfig config() {
  Json json = tiny_config("llama");
  json.merge_patch(Json::parse(R"({"hidden_size": 512, "intermediate_size": 1408,
      "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 8192,
      "num_hidden_layers": 4})"));
  return parse_config(json, "config.json");
}

// Four windows of `length` tokens, on all the machine's threads.
void forward(benchmark::State& state) {
  const ModelConfig model = config();
  const MemorySource source = random_model(model, 1);
  const auto windows = random_windows(model, 4, static_cast<int>(state.range(0)), 1);
  const OutputHead head(model, source);
  ThreadPool pool;
  while (state.KeepRunning()) {
    const Matrix<float> X = forward_all(pool, model, source, windows);
    benchmark::DoNotOptimize(head.logits(pool, X).data());
  }
  const double tokens =
      static_cast<double>(state.iterations()) * 4 * static_cast<double>(state.range(0));
  state.counters["tokens"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
}
BENCHMARK(forward)->ArgName("length")->Arg(128)->Arg(512)->UseRealTime()->Unit(
    benchmark::kMillisecond);

}  // namespace
}  // namespace watersic
