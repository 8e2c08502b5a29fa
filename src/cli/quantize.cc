#include "watersic/quantize.h"

#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "watersic/file.h"

namespace watersic::cli {
namespace {

struct Arguments {
  std::filesystem::path model, output, report;
  std::string calibration = "self";
  bool quiet = false;
  QuantizeOptions options;
};

void run(Arguments& arguments) {
  QuantizeOptions& options = arguments.options;
  using Source = CalibrationOptions::Source;
  if (arguments.calibration == "self" || arguments.calibration == "none") {
    options.calibration.source = arguments.calibration == "self" ? Source::kSelf : Source::kNone;
  } else {
    options.calibration.source = Source::kText;
    options.calibration.file = arguments.calibration;
  }
  if (!arguments.report.empty()) check_writable(arguments.report);
  const QuantizeReport report =
      quantize_model(arguments.model, arguments.output, options, progress_printer(arguments.quiet));
  if (!arguments.report.empty()) write_file(arguments.report, to_json(report));
  if (arguments.quiet) return;
  const double mib = 1024.0 * 1024.0;
  fmt::print("{}: {:.2f} MiB, of it {:.2f} MiB quantized tensors and {:.2f} MiB kept in 16 bits\n",
             report.output, static_cast<double>(report.file_bytes) / mib,
             report.bits.file * static_cast<double>(report.quantized_weights) / 8 / mib,
             static_cast<double>(report.kept_bytes) / mib);
  fmt::print("{:.4f} bits a weight in {} tensors ({:.4f} coded + {:.4f} side), {:.1f} s\n",
             report.bits.file, report.layers.size(), report.bits.coded, report.bits.side,
             report.seconds);
}

}  // namespace

void add_quantize(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "quantize",
      "Quantize a model: a checkpoint folder in, one .wsic file out\n\n"
      "  watersic quantize MODEL_DIR -o model.wsic --bits 2\n\n"
      "MODEL_DIR holds a Llama, Mistral, Qwen2 or Qwen3 as Hugging Face has it. The linear layers "
      "of\n"
      "the blocks are quantized; embeddings, norms, biases and the output head are kept in 16 "
      "bits.\n"
      "--bits is what the file spends on the quantized tensors, side information included. With\n"
      "--calibration self, the default, the model needs no data: it samples its own text.");
  command->add_option("MODEL_DIR", arguments->model, "A checkpoint folder")->required();
  command->add_option("-o,--output", arguments->output, "The file to write")
      ->required()
      ->type_name("OUT.wsic");
  add_quantizer_options(*command, arguments->options);
  CalibrationOptions& calibration = arguments->options.calibration;
  command
      ->add_option("--calibration", arguments->calibration,
                   "What the layers' inputs are measured on. self (default): text that the model "
                   "samples; FILE: this text; none: nothing, inputs are taken as white")
      ->type_name("FILE|self|none");
  command->add_option("--samples", calibration.samples, "Windows to calibrate on (default 128)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("N");
  command
      ->add_option("--sequence-length", calibration.sequence_length,
                   "Tokens in each window (default 2048, at most the model's context)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("T");
  command->add_flag("!--no-limits", arguments->options.limits,
                    "Report no information-theoretic limits of the layers: saves the time of "
                    "their eigenvalues");
  add_threads(*command, arguments->options.threads);
  command
      ->add_option("--report", arguments->report, "Write all figures, layer by layer, to this file")
      ->type_name("RUN.json");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress, no summary");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace watersic::cli
