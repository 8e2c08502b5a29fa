// inspect, verify, export: what one does with a .wsic file besides running it.
#include <fmt/format.h>

#include <map>
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
      program.add_subcommand("inspect", "Show what a .wsic file holds: sections, tensors, bits.");
  command->add_option("file", arguments->file, "The file")->required()->type_name("FILE.wsic");
  command->add_option("--json", arguments->json, "Write it as JSON here")->type_name("OUT.json");
  command->callback([arguments] {
    const Inspection inspection = inspect(arguments->file);
    if (!arguments->json.empty()) write_file(arguments->json, to_json(inspection));
    fmt::print("{}", to_text(inspection));
  });
}

void add_verify(CLI::App& program) {
  auto file = std::make_shared<std::filesystem::path>();
  CLI::App* command =
      program.add_subcommand("verify", "Check every byte of a .wsic file against its checksums.");
  command->add_option("file", *file, "The file")->required()->type_name("FILE.wsic");
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
  CLI::App* command = program.add_subcommand(
      "export",
      "Write a .wsic file's model as a checkpoint that other programs load.\n\n"
      "  watersic export model.wsic --to safetensors -o MODEL_DIR\n\n"
      "The quality stays, the size does not: weights become 16-bit numbers again.");
  command->add_option("file", arguments->file, "The file")->required()->type_name("FILE.wsic");
  command->add_option("--to", arguments->to, "The format: safetensors")
      ->required()
      ->check(CLI::IsMember({"safetensors"}))
      ->type_name("FORMAT");
  static const std::map<std::string, ExportType> kTypes{{"bf16", ExportType::kBF16},
                                                        {"f16", ExportType::kF16}};
  command->add_option("--dtype", arguments->type, "bf16 (default) or f16")
      ->transform(CLI::CheckedTransformer(kTypes, CLI::ignore_case).description(""))
      ->type_name("TYPE");
  command
      ->add_option("-o,--output", arguments->folder,
                   "The folder to write; must not exist or be empty")
      ->required()
      ->type_name("DIR");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress");
  command->callback([arguments] {
    export_safetensors(arguments->file, arguments->folder, arguments->type,
                       progress_printer(arguments->quiet));
  });
}

}  // namespace watersic::cli
