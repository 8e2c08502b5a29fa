#include "watersic/quantize.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "commands.h"
#include "watersic/error.h"
#include "watersic/file.h"
#include "watersic/ranks.h"

namespace watersic::cli {
namespace {

struct QuantizeArguments {
  std::filesystem::path model, output, report;
  bool quiet = false, dry_run = false;
  QuantizeOptions options;
};

void print_plan(const std::filesystem::path& model, const QuantizeOptions& options) {
  const QuantizePlan plan = plan_quantization(model, options);
  fmt::print("{:<48} {:>7} x {:<7} {:>7}\n", "layer", "outputs", "inputs", "bits");
  std::vector<QuantizePlan::Layer> layers = plan.embeddings;
  layers.insert(layers.end(), plan.layers.begin(), plan.layers.end());
  for (const QuantizePlan::Layer& layer : layers)
    fmt::print("{:<48} {:>7} x {:<7} {:>7}\n", layer.name, layer.rows, layer.cols,
               layer.kept ? "kept" : fmt::format("{:.3f}", layer.bits));
  const double gib = 1024.0 * 1024.0 * 1024.0;
  fmt::print("\n{} weights of layers at {:.3f} bits; calibration on {} tokens\n",
             plan.quantized_weights, plan.bits, plan.calibration_tokens);
  fmt::print("about {:.3f} GiB of file, {:.1f} GiB of memory, {:.0f} minutes\n",
             static_cast<double>(plan.file_bytes) / gib, static_cast<double>(plan.peak_bytes) / gib,
             std::ceil(plan.seconds / 60));
}

void run_quantize(const QuantizeArguments& arguments) {
  const QuantizeOptions& options = arguments.options;
  const bool first = is_first_rank();
  if (arguments.dry_run) {
    if (first) print_plan(arguments.model, options);
    return;
  }
  if (first && !arguments.report.empty()) check_writable(arguments.report);
  const QuantizeReport report =
      quantize_model(arguments.model, arguments.output, options,
                     progress_printer(arguments.quiet || !first), stop_on_signals());
  if (!first) return;
  if (!arguments.report.empty()) write_file(arguments.report, to_json(report));
  if (arguments.quiet) return;
  const double mib = 1024.0 * 1024.0;
  double quantized = report.bits.file * static_cast<double>(report.quantized_weights) / 8;
  for (const LayerReport& matrix : report.embeddings)
    quantized += matrix.bits.file * static_cast<double>(matrix.rows * matrix.cols) / 8;
  fmt::print("{}: {:.2f} MiB, of it {:.2f} MiB quantized tensors and {:.2f} MiB kept in 16 bits\n",
             report.output, static_cast<double>(report.file_bytes) / mib, quantized / mib,
             static_cast<double>(report.kept_bytes) / mib);
  fmt::print("{:.4f} bits a weight in {} tensors ({:.4f} coded + {:.4f} side), {:.1f} s\n",
             report.bits.file, report.layers.size(), report.bits.coded, report.bits.side,
             report.seconds);
}

}  // namespace

void add_quantize(CLI::App& program) {
  auto arguments = std::make_shared<QuantizeArguments>();
  CLI::App* command = program.add_subcommand(
      "quantize",
      "Quantize a model: a checkpoint in, one .wsic file out\n\n"
      "  watersic quantize MODEL_DIR -o model.wsic --bits 2\n\n"
      "MODEL_DIR holds a Llama, Mistral, Qwen2 or Qwen3 as Hugging Face has it; a GGUF file will "
      "do,\n"
      "better one that was not quantized before.\n"
      "The linear layers of the blocks are quantized; --bits is what the file spends on them, "
      "side\n"
      "information included. The embedding and the output head get up to 3 more "
      "(--embedding-bits,\n"
      "--head-bits); norms and biases are kept in 16 bits. With --calibration self, the default, "
      "the\n"
      "model needs no data: it samples its own text.");
  command->add_option("MODEL_DIR", arguments->model, "A checkpoint: a folder or a GGUF file")
      ->required();
  command->add_option("-o,--output", arguments->output, "The file to write")
      ->required()
      ->type_name("OUT.wsic");
  add_options<QuantizerOptions>(*command, arguments->options);
  add_calibration_options(*command, arguments->options.calibration);
  CLI::Option* size = add_option(
      *command,
      {.name = "size",
       .values = "SIZE",
       .help = "Instead of --bits: the size of the whole file (3G, 800M, or bytes)"},
      [arguments](const std::string& value) { arguments->options.file_size = parse_size(value); });
  size->excludes(command->get_option("--bits"));
  add_option(
      *command,
      {.name = "memory",
       .values = "SIZE",
       .help = "Take no more than this (8G, 800M, or bytes): what has no room goes into a "
               "temporary file beside the output, and what needs more is refused"},
      [arguments](const std::string& value) { arguments->options.memory = parse_size(value); });
  add_options<QuantizeOptions>(*command, arguments->options);
  add_options(*command, arguments->options.model);
  command->add_flag("--dry-run", arguments->dry_run,
                    "Print what would be done: layers and bits, file size, memory, time");
  command->add_flag("--resume", arguments->options.resume,
                    "Continue the run that stands unfinished in OUT.wsic.work");
  add_threads(*command, arguments->options.threads);
  command
      ->add_option("--report", arguments->report, "Write all figures, layer by layer, to this file")
      ->type_name("RUN.json");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress, no summary");
  command->callback([arguments, command] {
    if (command->count("--bits") + command->count("--size") == 0)
      throw CLI::RequiredError("--bits or --size");
    run_quantize(*arguments);
  });
}

}  // namespace watersic::cli
