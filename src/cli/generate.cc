#include "watersic/generate.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "commands.h"
#include "console.h"
#include "watersic/file.h"

namespace watersic::cli {
namespace {

struct GenerateArguments {
  std::filesystem::path model, prompt_file;
  std::string prompt;
  bool ids = false, quiet = false;
  GenerateOptions options;
};

void run_generate(const GenerateArguments& arguments) {
  const std::string prompt =
      arguments.prompt_file.empty() ? arguments.prompt : read_text(arguments.prompt_file);
  const auto print = [&](std::string_view piece) {
    if (arguments.ids) return true;
    fmt::print("{}", piece);
    return stdout_is_written();
  };
  const GenerateResult r = generate(arguments.model, prompt, arguments.options, print,
                                    progress_printer(arguments.quiet));
  if (arguments.ids) {
    for (const int32_t id : r.ids) fmt::print("{}\n", id);
  } else {
    fmt::print("\n");
  }
  if (arguments.quiet) return;
  const auto rate = [](size_t tokens, double seconds) {
    return fmt::format("{} tokens in {:.2f} s, {:.1f} a second", tokens, seconds,
                       static_cast<double>(tokens) / std::max(seconds, 1e-9));
  };
  std::fflush(stdout);  // before what follows it on a terminal
  say(fmt::format("loaded in {:.2f} s; prompt: {}; text: {}; {}\n", r.load_seconds,
                  rate(r.prompt.size(), r.prompt_seconds), rate(r.ids.size(), r.seconds),
                  r.ended ? "ended by the model" : "not ended by the model"));
}

}  // namespace

void add_generate(CLI::App& program) {
  auto arguments = std::make_shared<GenerateArguments>();
  GenerateOptions& options = arguments->options;
  CLI::App* command = program.add_subcommand(
      "generate",
      "Print what a model writes: the rest of a text, or an answer\n\n"
      "  watersic generate model.wsic --prompt 'It was a dark night' -n 100\n"
      "  watersic generate model.wsic --chat --prompt 'Who wrote Emma?' --temperature 0\n\n"
      "The text goes to stdout as it comes, as UTF-8, without the prompt and with a line feed at "
      "its\n"
      "end. It ends where the model ends it, or after -n tokens. How tokens are chosen is, if not\n"
      "said here, what the model's generation_config.json says. What memory it takes goes to "
      "stderr\n"
      "before; a model that does not fit is refused. The same seed gives the same text.");
  command
      ->add_option("MODEL", arguments->model,
                   "A checkpoint (a folder or a GGUF file) or a .wsic file")
      ->required();
  CLI::Option* prompt = command->add_option("--prompt,-p", arguments->prompt, "What to go on from")
                            ->type_name("TEXT");
  command->add_option("--prompt-file,-f", arguments->prompt_file, "The same, from a file, UTF-8")
      ->excludes(prompt)
      ->type_name("FILE");
  CLI::Option* chat =
      command->add_flag("--chat,-c", options.chat,
                        "The prompt is what a user says: put it into the model's chat template");
  command->add_option("--system", options.system, "What the system says before it")
      ->needs(chat)
      ->type_name("TEXT");
  command
      ->add_option("--tokens,-n", options.tokens,
                   "How many at most (default 256, or what the context leaves)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->type_name("N");
  command
      ->add_option("--temperature", options.sampling.temperature,
                   "0: always the most likely token; 1: the model's own distribution")
      ->type_name("T");
  command
      ->add_option("--top-k", options.sampling.top_k,
                   "Of the K most likely tokens only (0: of all)")
      ->type_name("K");
  command
      ->add_option("--top-p", options.sampling.top_p,
                   "Of the fewest tokens that have the probability P together")
      ->type_name("P");
  command
      ->add_option("--min-p", options.sampling.min_p,
                   "Of the tokens with at least P times the largest probability")
      ->type_name("P");
  command->add_option("--seed", options.sampling.seed, "Another seed, another text (default 1)")
      ->type_name("S");
  add_weights(*command, options.weights);
  add_cache(*command, options.cache);
  add_threads(*command, options.threads);
  command->add_flag("--ids", arguments->ids,
                    "Print the token ids, one a line, in place of the text");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress, no memory, no speed");
  command->callback([arguments, command] {
    if (command->count("--prompt") + command->count("--prompt-file") == 0)
      throw CLI::RequiredError("--prompt or --prompt-file");
    run_generate(*arguments);
  });
}

}  // namespace watersic::cli
