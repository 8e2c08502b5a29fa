#include "watersic/finetune.h"

#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "watersic/file.h"

namespace watersic::cli {
namespace {

struct FinetuneArguments {
  std::filesystem::path input, output, report;
  std::string calibration = "self";
  bool quiet = false;
  FinetuneOptions options;
};

void run_finetune(FinetuneArguments& arguments) {
  FinetuneOptions& options = arguments.options;
  using Source = CalibrationOptions::Source;
  if (arguments.calibration != "self") {
    options.calibration.source = Source::kText;
    options.calibration.file = arguments.calibration;
  }
  if (!arguments.report.empty()) check_writable(arguments.report);
  const FinetuneReport report =
      finetune(arguments.input, arguments.output, options, progress_printer(arguments.quiet));
  if (!arguments.report.empty()) write_file(arguments.report, to_json(report));
  if (arguments.quiet) return;
  if (report.best_epoch > 0) {
    fmt::print("KL divergence  {:.6f} bits a token held out, {:.6f} before (epoch {} of {})\n",
               report.kl_bits_after, report.kl_bits_before, report.best_epoch,
               report.epochs.size());
  } else {
    fmt::print(
        "KL divergence  {:.6f} bits a token held out: no epoch was better, the scales are "
        "unchanged\n",
        report.kl_bits_before);
  }
  fmt::print("{}: {} bytes, {} before; {:.4f} bits a weight, {:.4f} before; {:.1f} s\n",
             report.output, report.output_bytes, report.input_bytes, report.output_bits,
             report.input_bits, report.seconds);
}

}  // namespace

void add_finetune(CLI::App& program) {
  auto arguments = std::make_shared<FinetuneArguments>();
  FinetuneOptions& options = arguments->options;
  CalibrationOptions& calibration = options.calibration;
  CLI::App* command = program.add_subcommand(
      "finetune",
      "Train a .wsic file's scales to bring it nearer to the original model\n\n"
      "  watersic finetune model.wsic --reference MODEL_DIR -o better.wsic\n\n"
      "The integers stay, and the file's size does; the row and column scales are trained on the "
      "KL\n"
      "divergence of the original's predictions from the file's. After each epoch held-out windows "
      "are\n"
      "scored, and the best epoch is written: never one that is worse on them than the input.\n"
      "docs/finetune.md says what it costs and what it brings.");
  command->add_option("FILE.wsic", arguments->input, "The file to start from")->required();
  command->add_option("--reference", options.reference, "The original model, a checkpoint folder")
      ->required()
      ->type_name("MODEL_DIR");
  command->add_option("-o,--output", arguments->output, "The file to write")
      ->required()
      ->type_name("OUT.wsic");
  command
      ->add_option("--calibration", arguments->calibration,
                   "What to train on. self (default): text that the original model samples; FILE: "
                   "this text")
      ->type_name("FILE|self");
  const auto positive = CLI::Range(int64_t{1}, int64_t{1} << 30);
  const auto rate = CLI::Range(0.0, 1.0);
  command->add_option("--samples", calibration.samples, "Windows to train on (default 128)")
      ->check(positive)
      ->type_name("N");
  command
      ->add_option("--sequence-length", calibration.sequence_length,
                   "Tokens in each window (default 2048, at most the model's context)")
      ->check(positive)
      ->type_name("T");
  command
      ->add_option("--held-out", options.held_out,
                   "Further windows, on which the best epoch is chosen (default 16)")
      ->check(positive)
      ->type_name("N");
  command->add_option("--epochs", options.epochs, "Passes over the windows (default 10)")
      ->check(positive)
      ->type_name("N");
  command->add_option("--batch", options.batch, "Windows in a step (default 8)")
      ->check(positive)
      ->type_name("N");
  command
      ->add_option("--learning-rate", options.learning_rate,
                   "Of the first step, relative to a scale (default 0.16 over the number of steps, "
                   "within 1e-4 and 1e-2)")
      ->check(rate)
      ->type_name("X");
  command
      ->add_option("--final-learning-rate", options.final_learning_rate,
                   "Of the last, along half a cosine (default a hundredth of the first)")
      ->check(rate)
      ->type_name("Y");
  command->add_option("--seed", options.seed, "Seed of all that is random (default 1)")
      ->type_name("S");
  add_threads(*command, options.threads);
  command->add_option("--report", arguments->report, "Write all figures, by epoch, to this file")
      ->type_name("FT.json");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress, no summary");
  command->callback([arguments] { run_finetune(*arguments); });
}

}  // namespace watersic::cli
