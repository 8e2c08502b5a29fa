#include "watersic/rotate.h"

#include <memory>

#include "commands.h"

namespace watersic::cli {
namespace {

struct RotateArguments {
  std::filesystem::path model, output;
  std::string basis = "principal";
  bool quiet = false;
  RotateOptions options;
};

}  // namespace

void add_rotate(CLI::App& program) {
  auto arguments = std::make_shared<RotateArguments>();
  RotateOptions& options = arguments->options;
  CLI::App* command = program.add_subcommand(
      "rotate",
      "Write a checkpoint in its principal basis: the same model in other coordinates\n\n"
      "  watersic rotate MODEL_DIR -o DIR --calibration FILE\n\n"
      "The residual stream is turned to the axes along which it varies most, the values of each\n"
      "attention head likewise, and the norms' gains go into the matrices behind them. Any "
      "program\n"
      "that runs the original runs the result. A model whose embedding is its output head gets a\n"
      "head of its own.");
  command->add_option("MODEL_DIR", arguments->model, "A checkpoint folder or a GGUF file")
      ->required();
  command->add_option("-o,--output", arguments->output, "The folder to write, new or empty")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--basis", arguments->basis,
                   "principal (default): both the stream and the heads; stream, heads: one of them")
      ->check(CLI::IsMember({"principal", "stream", "heads"}));
  add_calibration_options(*command, options.calibration);
  add_choice(*command, "--dtype", options.type,
             "How weights are stored: f32 (default), f16 or bf16")
      ->type_name("TYPE");
  command->add_option("--seed", options.seed, "Seed of all that is random (default 1)")
      ->type_name("S");
  add_threads(*command, options.threads);
  command->add_flag("--quiet,-q", arguments->quiet, "No progress");
  command->callback([arguments] {
    RotateOptions& chosen = arguments->options;
    if (chosen.type == ExportType::kQ8_0)
      throw CLI::ValidationError("--dtype", "q8_0 is for export --to gguf only");
    chosen.stream = arguments->basis != "heads";
    chosen.heads = arguments->basis != "stream";
    rotate_model(arguments->model, arguments->output, chosen, progress_printer(arguments->quiet));
  });
}

}  // namespace watersic::cli
