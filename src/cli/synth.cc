#include <memory>
#include <optional>

#include "commands.h"
#include "watersic/error.h"
#include "watersic/model.h"

namespace watersic::cli {
namespace {

struct SynthArguments {
  std::string like, layer, layout = "entropy";
  int64_t layers = 0, rows = 1024, cols = 512;
  std::optional<double> bits;
  uint64_t seed = 1;
  std::filesystem::path output, tokenizer;
};

}  // namespace

void add_synth(CLI::App& program) {
  auto arguments = std::make_shared<SynthArguments>();
  CLI::App* command = program.add_subcommand(
      "synth",
      "Write random weights of realistic spread, to measure with\n\n"
      "  watersic synth --like llama-3.2-1b -o DIR --layers 2    a checkpoint of true shapes\n"
      "  watersic synth --like llama-3.2-1b --bits 2 -o F.wsic   a file to run, of random "
      "integers\n"
      "  watersic synth --layer powerlaw -o DIR                  W.npy and S.npy for `watersic "
      "layer`");
  auto* like =
      command
          ->add_option("--like", arguments->like, "The model: llama-3.2-1b, llama-3-8b or qwen3-8b")
          ->check(CLI::IsMember({"llama-3.2-1b", "llama-3-8b", "qwen3-8b"}))
          ->type_name("MODEL");
  command->add_option("--layers", arguments->layers, "Only this many blocks (default: all)")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}))
      ->needs(like)
      ->type_name("N");
  command
      ->add_option("--bits", arguments->bits,
                   "Write a .wsic file as it would be at this rate, in place of a checkpoint")
      ->needs(like)
      ->type_name("B");
  command->add_option("--layout", arguments->layout, "Of the .wsic file (default entropy)")
      ->needs(like)
      ->check(CLI::IsMember({"entropy", "runnable"}))
      ->type_name("entropy|runnable");
  command
      ->add_option("--tokenizer", arguments->tokenizer,
                   "Copy the tokenizer of this checkpoint folder")
      ->needs(like)
      ->type_name("MODEL_DIR");
  auto* layer = command
                    ->add_option("--layer", arguments->layer,
                                 "The family: white, powerlaw, ar1, lognormal_diag, hard")
                    ->excludes(like)
                    ->type_name("FAMILY");
  command->add_option("--rows", arguments->rows, "Rows of W (default 1024)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->needs(layer)
      ->type_name("N");
  command->add_option("--cols", arguments->cols, "Columns of W, features of S (default 512)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 16))
      ->needs(layer)
      ->type_name("N");
  command->add_option("--seed", arguments->seed, "Seed (default 1)")->type_name("S");
  command->add_option("-o,--output", arguments->output, "The folder (or .wsic file) to write")
      ->required()
      ->type_name("PATH");
  command->callback([arguments] {
    if (!arguments->layer.empty()) {
      synthesize_layer(arguments->layer, arguments->rows, arguments->cols, arguments->seed,
                       arguments->output);
    } else if (arguments->bits) {
      synthesize_file(arguments->like, arguments->layers, *arguments->bits,
                      from_name<Layout>(arguments->layout), arguments->seed, arguments->output,
                      arguments->tokenizer);
    } else if (!arguments->like.empty()) {
      synthesize_model(arguments->like, arguments->layers, arguments->seed, arguments->output,
                       arguments->tokenizer);
    } else {
      throw CLI::RequiredError("--like or --layer");
    }
  });
}

}  // namespace watersic::cli
