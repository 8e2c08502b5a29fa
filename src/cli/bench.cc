#include "watersic/bench.h"

#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "watersic/file.h"

namespace watersic::cli {
namespace {

struct BenchArguments {
  std::filesystem::path model, json;
  bool quiet = false;
  BenchOptions options;
};

void run_bench(const BenchArguments& arguments) {
  const BenchResult r =
      bench(arguments.model, arguments.options, progress_printer(arguments.quiet));
  if (!arguments.json.empty()) write_file(arguments.json, to_json(r));
  const auto mib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  fmt::print("{:<12}{:>10.1f} tokens a second, {} tokens\n", "prompt", r.prompt_tokens_per_second,
             r.prompt_tokens);
  fmt::print("{:<12}{:>10.1f} tokens a second, {} tokens\n", "generation", r.tokens_per_second,
             r.tokens);
  fmt::print("{:<12}{:>10.2f} s\n", "loading", r.load_seconds);
  fmt::print("{:<12}{:>10.1f} MiB, {:.1f} bits a weight\n", "weights", mib(r.weight_bytes),
             r.bits_per_weight);
  fmt::print("{:<12}{:>10.1f} MiB\n", "cache", mib(r.cache_bytes));
  fmt::print("{:<12}{:>10.1f} MiB at most\n", "activations", mib(r.scratch_bytes));
  fmt::print("{:<12}{:>10.1f} MiB\n", "peak", mib(r.peak_bytes));
  fmt::print("{:<12}{:>10}\n", "threads", r.threads);
}

}  // namespace

void add_bench(CLI::App& program) {
  auto arguments = std::make_shared<BenchArguments>();
  BenchOptions& options = arguments->options;
  CLI::App* command = program.add_subcommand(
      "bench",
      "Measure how fast a model reads and writes, and what memory it takes\n\n"
      "  watersic bench model.wsic --threads 2\n\n"
      "A prompt of random tokens is read at once; text is generated token by token, from an empty\n"
      "cache on. Speeds are medians over the repetitions.");
  command
      ->add_option("MODEL", arguments->model,
                   "A checkpoint (a folder or a GGUF file) or a .wsic file")
      ->required();
  const CLI::Range positive(int64_t{1}, int64_t{1} << 30);
  command->add_option("--prompt,-p", options.prompt, "Tokens of the prompt (default 512)")
      ->check(positive)
      ->type_name("N");
  command->add_option("--tokens,-n", options.tokens, "Tokens to generate (default 128)")
      ->check(positive)
      ->type_name("N");
  command->add_option("--repeat,-r", options.repeat, "Repetitions (default 3)")
      ->check(positive)
      ->type_name("N");
  add_weights(*command, options.weights);
  add_cache(*command, options.cache);
  add_threads(*command, options.threads);
  command->add_option("--json", arguments->json, "Write the figures to this file")
      ->type_name("FILE");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress");
  command->callback([arguments] { run_bench(*arguments); });
}

}  // namespace watersic::cli
