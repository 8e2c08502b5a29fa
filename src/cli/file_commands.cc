// inspect, verify, export: what one does with a .wsic file besides running it.
#include <fmt/format.h>

#include <memory>

#include "commands.h"
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
    fmt::print("{}", to_text(inspection));
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
    std::filesystem::path file, folder;
    std::string to = "safetensors";
    ExportType type = ExportType::kBF16;
    bool quiet = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      program.add_subcommand("export",
                             "Write a .wsic file's model as a checkpoint folder\n\n"
                             "  watersic export model.wsic --to safetensors -o MODEL_DIR\n\n"
                             "For programs that load Hugging Face checkpoints. The quality stays, "
                             "the size does not: weights\n"
                             "become 16-bit numbers again.");
  command->add_option("FILE.wsic", arguments->file, "The file")->required();
  command->add_option("--to", arguments->to, "The format: safetensors")
      ->required()
      ->check(CLI::IsMember({"safetensors"}))
      ->type_name("FORMAT");
  add_choice<ExportType>(*command, "--dtype", arguments->type,
                         {{"bf16", ExportType::kBF16}, {"f16", ExportType::kF16}},
                         "Of all weights (default bf16)")
      ->type_name("bf16|f16");
  command->add_option("-o,--output", arguments->folder, "The folder to write; must be new or empty")
      ->required()
      ->type_name("DIR");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress");
  command->callback([arguments] {
    export_safetensors(arguments->file, arguments->folder, arguments->type,
                       progress_printer(arguments->quiet));
  });
}

}  // namespace watersic::cli
