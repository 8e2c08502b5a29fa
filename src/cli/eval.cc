#include <fmt/format.h>

#include <map>
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
  const EvaluateResult r = evaluate(arguments.model, arguments.text, arguments.options,
                                    progress_printer(arguments.quiet));
  if (!arguments.json.empty()) write_file(arguments.json, to_json(r));
  fmt::print(
      "perplexity {:.4f} ({} convention, context {}, {} windows, {} tokens scored, text {})\n",
      r.perplexity, r.convention == Convention::kLlamaCpp ? "llama.cpp" : "hf", r.context,
      r.windows, r.tokens, r.text_hash);
  fmt::print("{:.5f} nats a token, {:.4f} bits a byte\n", r.nll, r.bits_per_byte);
  if (r.has_reference) {
    fmt::print(
        "against {} (perplexity {:.4f}): KL {:.6f} bits a token, same most likely token {:.2f}%\n",
        r.reference, r.reference_perplexity, r.kl_bits, 100 * r.top1);
  }
}

}  // namespace

void add_eval(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "eval",
      "Perplexity of a text; with a reference, KL divergence and agreement too.\n\n"
      "  watersic eval model.wsic --text wiki.txt --reference MODEL_DIR\n\n"
      "docs/conventions.md says exactly what is scored.");
  command->add_option("model", arguments->model, "Checkpoint folder or .wsic file")
      ->required()
      ->type_name("MODEL_DIR|FILE.wsic");
  command->add_option("--text,-t", arguments->text, "The text to score, UTF-8")
      ->required()
      ->type_name("FILE");
  static const std::map<std::string, Convention> kConventions{{"hf", Convention::kHuggingFace},
                                                              {"llama.cpp", Convention::kLlamaCpp}};
  command
      ->add_option("--convention", arguments->options.convention,
                   "hf (default): every token of each window, as GPTQ and the papers; llama.cpp: "
                   "the second half")
      ->transform(CLI::CheckedTransformer(kConventions, CLI::ignore_case).description(""))
      ->type_name("hf|llama.cpp");
  command
      ->add_option("--context", arguments->options.context,
                   "Tokens in a window (default 2048, llama.cpp 512; at most the model's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("T");
  command
      ->add_option("--reference", arguments->options.reference,
                   "Compare with this model, token by token")
      ->type_name("MODEL_DIR|FILE.wsic");
  command->add_flag(
      "--wikitext", arguments->options.wikitext,
      "The text is wiki.test.raw: score what the papers score, rows joined by blank lines");
  add_threads(*command, arguments->options.threads);
  command->add_option("--json", arguments->json, "Write the figures here")->type_name("OUT.json");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace watersic::cli
