#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "watersic/evaluate.h"
#include "watersic/file.h"

namespace watersic::cli {
namespace {

struct Arguments {
  std::filesystem::path model, text, json;
  bool quiet = false;
  EvaluateOptions options;
};

void run(const Arguments& arguments) {
  if (!arguments.json.empty()) check_writable(arguments.json);
  const EvaluateResult r = evaluate(arguments.model, arguments.text, arguments.options,
                                    progress_printer(arguments.quiet));
  if (!arguments.json.empty()) write_file(arguments.json, to_json(r));
  fmt::print("perplexity     {:.4f} ({:.5f} nats a token, {:.4f} bits a byte)\n", r.perplexity,
             r.nll, r.bits_per_byte);
  fmt::print("scored         {} tokens in {} windows of {}, {} convention, text {}\n", r.tokens,
             r.windows, r.context, r.convention == Convention::kLlamaCpp ? "llama.cpp" : "hf",
             r.text_hash);
  if (r.has_reference) {
    fmt::print("reference      {}, perplexity {:.4f}\n", r.reference, r.reference_perplexity);
    fmt::print("KL divergence  {:.6f} bits a token\n", r.kl_bits);
    fmt::print("same top token {:.2f}% of the time\n", 100 * r.top1);
  }
}

}  // namespace

void add_eval(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "eval",
      "Score a text: perplexity, and KL divergence from a reference\n\n"
      "  watersic eval model.wsic --text book.txt --reference MODEL_DIR\n\n"
      "Perplexities compare only if text, context and convention are the same, so all three are\n"
      "printed. docs/conventions.md says exactly what each convention scores. With a reference "
      "both\n"
      "models score the text, and their distributions are compared at every scored token.");
  command->add_option("MODEL", arguments->model, "A checkpoint folder or a .wsic file")->required();
  command->add_option("--text,-t", arguments->text, "The text to score, UTF-8")
      ->required()
      ->type_name("FILE");
  add_choice<Convention>(*command, "--convention", arguments->options.convention,
                         {{"hf", Convention::kHuggingFace}, {"llama.cpp", Convention::kLlamaCpp}},
                         "hf (default): all of each window is scored, as by GPTQ and the papers; "
                         "llama.cpp: its second "
                         "half, as by llama-perplexity")
      ->type_name("hf|llama.cpp");
  command
      ->add_option("--context", arguments->options.context,
                   "Tokens in a window (default 2048, llama.cpp 512; at most the model's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("T");
  command
      ->add_option("--reference", arguments->options.reference,
                   "Compare with this model (a folder or a file), token by token")
      ->type_name("MODEL");
  command->add_flag(
      "--wikitext", arguments->options.wikitext,
      "The text is wiki.test.raw: score what the papers score, rows joined by blank lines");
  add_threads(*command, arguments->options.threads);
  command->add_option("--json", arguments->json, "Write the figures to this file")
      ->type_name("OUT.json");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace watersic::cli
