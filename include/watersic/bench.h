// How fast a model runs on this machine, and what memory it takes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "watersic/progress.h"
#include "watersic/running.h"

namespace watersic {

struct BenchOptions {
  // Tokens of the prompt, which are random, and that are generated behind the first token of a
  // text; 0: 512 and 128, or what the model's context has room for.
  int64_t prompt = 0, tokens = 0;
  int repeat = 3;
  int threads = 0;
  WeightFormat weights = WeightFormat::kPacked;
  CacheType cache = CacheType::kFloat16;
};

// Speeds are medians over the repetitions.
struct BenchResult {
  std::string model;
  WeightFormat weights = WeightFormat::kPacked;  // as asked for; a checkpoint is not packed
  CacheType cache = CacheType::kFloat16;
  int threads = 0;
  int64_t prompt_tokens = 0, tokens = 0;
  double load_seconds = 0, prompt_tokens_per_second = 0, tokens_per_second = 0;
  int64_t weight_bytes = 0, cache_bytes = 0;
  double bits_per_weight = 0;  // in memory
  int64_t scratch_bytes = 0;   // at most, as estimated before
  int64_t peak_bytes = 0;      // of the process, as measured; 0 where the system does not tell
};

// Opens `model`, a checkpoint or a .wsic file; a tokenizer is not needed. Throws Error.
BenchResult bench(const std::filesystem::path& model, const BenchOptions& options,
                  const ProgressFn& progress = {});
std::string to_json(const BenchResult& result);

}  // namespace watersic
