#include "watersic/quantize.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <memory>

#include "commands.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic::cli {
namespace {

struct Arguments {
  std::filesystem::path model, output, report;
  std::string size;
  bool quiet = false, dry_run = false;
  QuantizeOptions options;
};

// "3G", "800M", "1.5GiB": K, M, G are powers of 1024, with or without iB; a plain number is bytes.
int64_t parse_size(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  std::string unit(rest, end);
  if (unit.ends_with("iB")) unit.resize(unit.size() - 2);
  const std::map<std::string, double> units{
      {"", 1}, {"K", 1024.0}, {"M", 1024.0 * 1024}, {"G", 1024.0 * 1024 * 1024}};
  if (error != std::errc() || !units.contains(unit) || !(value > 0) || value > 1e15)
    throw Error(fmt::format("--size: expected a number with K, M or G, found '{}'", text));
  return static_cast<int64_t>(value * units.at(unit));
}

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

void run(Arguments& arguments) {
  QuantizeOptions& options = arguments.options;
  if (!arguments.size.empty()) options.file_size = parse_size(arguments.size);
  if (arguments.dry_run) {
    print_plan(arguments.model, options);
    return;
  }
  if (!arguments.report.empty()) check_writable(arguments.report);
  const QuantizeReport report =
      quantize_model(arguments.model, arguments.output, options, progress_printer(arguments.quiet),
                     stop_on_signals());
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

void add_model_options(CLI::App& command, QuantizeOptions& options) {
  ModelOptions& model = options.model;
  const auto add = [&](const std::string& name, std::optional<bool>& option,
                       const std::string& description) {
    command.add_flag_function(
        "--" + name + ",!--no-" + name, [&option](int64_t count) { option = count > 0; },
        description);
  };
  add("drift", model.drift,
      "Statistics of the model quantized so far, with the original's outputs as the target (on; "
      "gptq methods: the statistics alone)");
  add("residual", model.residual,
      "watersic: o_proj and down_proj also mend what the residual stream has lost (on)");
  add("mixing", model.mixing,
      "watersic: q, k, v lean on the original's statistics, and on unweighted ones, as far as it "
      "helps, found by trying (off: much time for little)");
  add("output-metric", model.output_metric,
      "watersic: outputs count as much as their errors change the model's output, and rows make "
      "good the errors of others (on)");
  add("token-weighting", model.token_weighting,
      "watersic: tokens count as much as errors there change the model's output (on, with a metric "
      "of the outputs)");
  add("attention-weighting", model.attention_weighting,
      "watersic: q, k, v count a token as much as it is attended to (on without token weighting)");
  const std::map<std::string, Allocation> allocations{{"uniform", Allocation::kUniform},
                                                      {"sensitivity", Allocation::kSensitivity},
                                                      {"gradient", Allocation::kGradient}};
  command
      .add_option_function<Allocation>(
          "--allocate", [&model](const Allocation& wanted) { model.allocation = wanted; },
          "How the layers share the bits: all alike, or more for those whose errors change the "
          "model's output most, by quantizing each alone, or by gradients (watersic's default)")
      ->transform(CLI::CheckedTransformer(allocations).description(""))
      ->type_name("uniform|sensitivity|gradient");
  const std::map<std::string, Basis> bases{
      {"native", Basis::kNative}, {"heads", Basis::kHeads}, {"principal", Basis::kPrincipal}};
  command
      .add_option_function<Basis>(
          "--basis", [&model](const Basis& wanted) { model.basis = wanted; },
          "The coordinates of the layers: the model's own; with each attention head's values "
          "turned "
          "to their principal axes; with the residual stream turned to its own as well (watersic: "
          "principal, or heads where the stream's axes would take more than 1/12 bit a weight)")
      ->transform(CLI::CheckedTransformer(bases).description(""))
      ->type_name("native|heads|principal");
  command.add_flag("--mix-gate-up", model.mix_gate_up,
                   "watersic: such a search for gate and up, too (off)");
  command
      .add_option("--mixing-steps", model.mixing_steps,
                  "Golden-section steps of each search (default 5; the papers take 15)")
      ->type_name("N");
  command
      .add_option("--override", options.overrides,
                  "Options of the layers whose names match: 'down_proj:bits=3' or "
                  "'layers\\.0\\.:bits=4,trellis=0'. The last match wins")
      ->type_name("REGEX:NAME=VALUE,...")
      ->allow_extra_args(false);
  command.add_option("--keep", options.keep, "Layers whose names match are kept in 16 bits")
      ->type_name("REGEX")
      ->allow_extra_args(false);
  command
      .add_option("--zero-rows", options.zero_rows,
                  "Rows of gate and up to take out of the model, with the columns of down that "
                  "read them: '6.gate_proj:5723,8518;16.gate_proj:2271'")
      ->type_name("ROWS");
}

}  // namespace

void add_quantize(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "quantize",
      "Quantize a model: a checkpoint in, one .wsic file out\n\n"
      "  watersic quantize MODEL_DIR -o model.wsic --bits 2\n\n"
      "MODEL_DIR holds a Llama, Mistral, Qwen2 or Qwen3 as Hugging Face has it; a GGUF file will "
      "do.\n"
      "The linear layers of the blocks are quantized; --bits is what the file spends on them, "
      "side\n"
      "information included. The embedding and the output head get 3 bits more (--embedding-bits,\n"
      "--head-bits); norms and biases are kept in 16 bits. With --calibration self, the default, "
      "the\n"
      "model needs no data: it samples its own text.");
  command->add_option("MODEL_DIR", arguments->model, "A checkpoint: a folder or a GGUF file")
      ->required();
  command->add_option("-o,--output", arguments->output, "The file to write")
      ->required()
      ->type_name("OUT.wsic");
  add_quantizer_options(*command, arguments->options);
  add_calibration_options(*command, arguments->options.calibration);
  CLI::Option* size =
      command
          ->add_option("--size", arguments->size,
                       "Instead of --bits: the size of the whole file (3G, 800M, or bytes)")
          ->type_name("SIZE");
  size->excludes(command->get_option("--bits"));
  command->get_option("--bits")->required(false);
  command
      ->add_option(
          "--embedding-bits", arguments->options.embedding_bits,
          "Bits a weight of the embedding, 0.5 to 10: always by method watersic, on top of "
          "--bits, which don't count it (default 3 more than --bits; the other methods, and where "
          "that is more than 10, 16: kept)")
      ->type_name("B");
  command
      ->add_option("--head-bits", arguments->options.head_bits,
                   "Likewise of the output head. Where it is the embedding's matrix, the two are "
                   "one option")
      ->type_name("B");
  add_model_options(*command, arguments->options);
  command->add_flag("--dry-run", arguments->dry_run,
                    "Print what would be done: layers and bits, file size, memory, time");
  command->add_flag("--resume", arguments->options.resume,
                    "Continue the run that stands unfinished in OUT.wsic.work");
  command->add_flag("!--no-limits", arguments->options.limits,
                    "Report no information-theoretic limits of the layers: saves the time of "
                    "their eigenvalues");
  add_threads(*command, arguments->options.threads);
  command
      ->add_option("--report", arguments->report, "Write all figures, layer by layer, to this file")
      ->type_name("RUN.json");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress, no summary");
  command->callback([arguments, command] {
    if (command->count("--bits") + command->count("--size") == 0)
      throw CLI::RequiredError("--bits or --size");
    run(*arguments);
  });
}

}  // namespace watersic::cli
