#include "watersic/report.h"

#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "console.h"
#include "watersic/file.h"

namespace watersic::cli {
namespace {

struct ReportArguments {
  std::vector<std::filesystem::path> files;
  std::filesystem::path output;
};

std::string counted(size_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

void run_report(const ReportArguments& arguments) {
  check_writable(arguments.output);
  const Report report = make_report(arguments.files);
  write_file(arguments.output, report.html);
  fmt::print("{}: {}, {}\n", arguments.output.string(), counted(report.runs, "run"),
             counted(report.evaluations, "evaluation"));
  for (const std::string& note : report.notes) say(printable(note) + "\n");
}

}  // namespace

void add_report(CLI::App& program) {
  auto arguments = std::make_shared<ReportArguments>();
  CLI::App* command = program.add_subcommand(
      "report",
      "Show runs and evaluations on one page: sizes, quality, where the bits went\n\n"
      "  watersic report run.json eval.json -o report.html\n\n"
      "Takes what `quantize --report` and `eval --json` wrote, of as many runs as you like and in "
      "any\n"
      "order, and joins them by model_id. The page is one file that needs nothing else: open it in "
      "a\n"
      "browser, print it, send it. Runs that differ only in their bits become a curve. A chart for "
      "which\n"
      "the files hold no figures is left out, and the page says why.");
  command->add_option("FILES", arguments->files, "Run and evaluation files, JSON")->required();
  command->add_option("-o,--output", arguments->output, "The page to write")
      ->required()
      ->type_name("OUT.html");
  command->callback([arguments] { run_report(*arguments); });
}

}  // namespace watersic::cli
