// inspect, verify, export: what one does with a .wsic file besides running it.
#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "console.h"
#include "watersic/file.h"
#include "watersic/model.h"

namespace watersic::cli {

void add_inspect(CLI::App& program) {
  struct Arguments {
    std::filesystem::path file, json;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      program.add_subcommand("inspect", "Show what a .wsic file holds: tensors, bits, options");
  command->add_option("FILE.wsic", arguments->file, "The file")->required();
  command
      ->add_option("--json", arguments->json,
                   "Write it as JSON to this file, with what the file was made with")
      ->type_name("OUT.json");
  command->callback([arguments] {
    const Inspection inspection = inspect(arguments->file);
    if (!arguments->json.empty()) write_file(arguments->json, to_json(inspection));
    fmt::print("{}", printable(to_text(inspection)));  // names of other people's making
  });
}

void add_verify(CLI::App& program) {
  auto file = std::make_shared<std::filesystem::path>();
  CLI::App* command =
      program.add_subcommand("verify", "Check every byte of a .wsic file against its checksums");
  command->add_option("FILE.wsic", *file, "The file")->required();
  command->callback([file] {
    verify(*file);
    fmt::print("{}: whole\n", file->string());
  });
}

void add_export(CLI::App& program) {
  struct Arguments {
    std::filesystem::path model, output;
    std::string to, pre;
    ExportType type = ExportType::kBF16;
    bool quiet = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "export",
      "Write a model for other programs: safetensors or GGUF\n\n"
      "  watersic export model.wsic --to gguf --dtype f16 -o model.gguf\n"
      "  watersic export model.wsic --to safetensors -o MODEL_DIR\n\n"
      "gguf is a file for llama.cpp, ollama and the like; safetensors a checkpoint folder for\n"
      "transformers, vLLM and the like. The quality of a .wsic file stays, its size does not: "
      "weights\n"
      "become numbers of 8 to 32 bits again (docs/export.md).");
  command->add_option("MODEL", arguments->model, "A .wsic file, a checkpoint folder or a GGUF file")
      ->required();
  command->add_option("--to", arguments->to, "The format")
      ->required()
      ->check(CLI::IsMember({"safetensors", "gguf"}))
      ->type_name("safetensors|gguf");
  add_choice(*command, "--dtype", arguments->type,
             "Of all weights (default bf16); q8_0, for gguf only, rounds them to 8.5 "
             "bits each, all others lose next to nothing");
  command
      ->add_option("-o,--output", arguments->output,
                   "What to write: a file for gguf, a new or empty folder for safetensors")
      ->required()
      ->type_name("PATH");
  command
      ->add_option("--pre", arguments->pre,
                   "gguf: llama.cpp's name for how the tokenizer cuts a text, where it is not "
                   "found from tokenizer.json")
      ->type_name("NAME");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress");
  command->callback([arguments] {
    const ProgressFn progress = progress_printer(arguments->quiet);
    if (arguments->to == "gguf") {
      export_gguf(arguments->model, arguments->output, arguments->type, arguments->pre, progress);
      return;
    }
    if (!arguments->pre.empty()) throw CLI::ValidationError("--pre", "is for --to gguf only");
    if (arguments->type == ExportType::kQ8_0)
      throw CLI::ValidationError("--dtype", "q8_0 is for --to gguf only");
    export_safetensors(arguments->model, arguments->output, arguments->type, progress);
  });
}

}  // namespace watersic::cli
