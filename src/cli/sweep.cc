#include "watersic/sweep.h"

#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "console.h"

namespace watersic::cli {
namespace {

struct SweepArguments {
  std::filesystem::path model, text, folder;
  std::vector<std::string> methods;
  int threads = 0;
  bool quiet = false;
  SweepOptions options;
};

void run_sweep(SweepArguments& arguments) {
  SweepOptions& options = arguments.options;
  if (!arguments.methods.empty()) options.methods.clear();
  for (const std::string& name : arguments.methods)
    options.methods.push_back(from_name<Method>(name));
  options.quantize.threads = options.evaluate.threads = arguments.threads;
  const SweepResult r = sweep(arguments.model, arguments.text, arguments.folder, options,
                              progress_printer(arguments.quiet), stop_on_signals());
  if (arguments.quiet) return;
  for (const std::string& note : r.notes) say(printable(note) + "\n");
  fmt::print("{:<14}{:>6}{:>10}{:>10}{:>12}{:>12}{:>11}{:>10}\n", "method", "bits", "in file",
             "MiB", "perplexity", "bits/byte", "KL, bits", "same top");
  for (const SweepRow& row : r.rows) {
    fmt::print("{:<14}{:>6}{:>10.4f}{:>10.2f}{:>12.4f}{:>12.4f}{:>11.5f}{:>9.2f}%\n", row.method,
               row.bits, row.file_bits, static_cast<double>(row.file_bytes) / (1024.0 * 1024.0),
               row.perplexity, row.bits_per_byte, row.kl_bits, 100 * row.top1);
  }
  fmt::print("{} rows, {} of them found; {}, {}\n", r.rows.size(), r.found, r.csv.string(),
             r.html.string());
}

}  // namespace

void add_sweep(CLI::App& program) {
  auto arguments = std::make_shared<SweepArguments>();
  SweepOptions& options = arguments->options;
  CLI::App* command = program.add_subcommand(
      "sweep",
      "Quantize a model at many rates by many methods, evaluate all, draw the curves\n\n"
      "  watersic sweep MODEL_DIR --bits 1,2,3,4 --methods watersic,gptq --text book.txt -o DIR\n\n"
      "DIR gets, for each row, a .wsic file and the figures of its run and its evaluation against "
      "the\n"
      "original, and in the end sweep.csv and report.html. A sweep that was stopped goes on where "
      "it\n"
      "was when it is started again; with more rates or methods it adds their rows. Rows of "
      "another\n"
      "model, other options or another text are refused. gptq and rtn have rows at whole numbers "
      "of\n"
      "bits only.");
  command->add_option("MODEL_DIR", arguments->model, "A checkpoint: a folder or a GGUF file")
      ->required();
  command->add_option("--text,-t", arguments->text, "The text to score, UTF-8")
      ->required()
      ->type_name("FILE");
  command->add_option("-o,--output", arguments->folder, "The folder of the sweep")
      ->required()
      ->type_name("DIR");
  command->add_option("--bits,-b", options.bits, "Bits a weight (default 1,1.5,2,3,4)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("B,B,...");
  command
      ->add_option("--methods,-m", arguments->methods,
                   "Of " + joined_names<Method>(", ") + " (default watersic,huffman-gptq,gptq)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(
          CLI::IsMember(std::vector<std::string>(names_of<Method>.begin(), names_of<Method>.end())))
      ->type_name("NAME,...");
  add_calibration_options(*command, options.quantize.calibration);
  command
      ->add_option("--set", options.settings,
                   "Options of one method's rows: 'gptq:group-size=64' or "
                   "'watersic:trellis=0,coder=pooled', named as in quantize")
      ->type_name("METHOD:NAME=VALUE,...")
      ->allow_extra_args(false);
  add_options<QuantizeOptions>(*command, options.quantize, {"keep", "limits"});
  add_options<QuantizerOptions>(*command, options.quantize, {"seed"});
  add_choice(*command, "--convention", options.evaluate.convention,
             "How the text is scored, as in eval (default hf)");
  command
      ->add_option("--context", options.evaluate.context,
                   "Tokens in a window (default 2048, llama.cpp 512; at most the model's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("T");
  command->add_flag("--wikitext", options.evaluate.wikitext,
                    "The text is wiki.test.raw, as in eval");
  command->add_flag("--discard-files", options.discard_files,
                    "Delete each .wsic file when it has been evaluated");
  add_threads(*command, arguments->threads);
  command->add_flag("--quiet,-q", arguments->quiet, "No progress, no table");
  command->callback([arguments] { run_sweep(*arguments); });
}

}  // namespace watersic::cli
