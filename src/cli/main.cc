// watersic: the command line. Results go to stdout, messages to stderr; exit codes are 0, 1 for an
// error, 2 for wrong usage, 75 for a run that was stopped and can be resumed, 128 and its number
// for a signal.
#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "commands.h"
#include "console.h"
#include "help.h"
#include "watersic/error.h"
#include "watersic/file.h"
#include "watersic/quantize.h"
#include "watersic/ranks.h"
#include "watersic/version.h"

namespace watersic::cli {
namespace {

// Of ranks that all fail, the first says it. One that fails by itself says so, and ends the others.
int fail(const Ranks* ranks, const std::string& message, int exit_code) {
  if (ranks == nullptr || ranks->size() == 1) {
    say_message(message);
  } else if (ranks->all_failed()) {
    if (ranks->rank() == 0) say_message(message);
  } else {
    say_message(fmt::format("rank {}: {}", ranks->rank(), message));
    remove_temporary_files();
    ranks->end_all(exit_code);
  }
  return exit_code;
}

// Only quantize knows of other ranks; of another command each would do all.
void check_command(const Ranks& ranks, int argc, char** argv) {
  if (ranks.size() > 1 && argc > 1 && std::string_view(argv[1]) != "quantize")
    throw Error(fmt::format("{}: runs in one process, not in {}", argv[1], ranks.size()));
}

}  // namespace
}  // namespace watersic::cli

int main(int argc, char** argv) {
  using namespace watersic::cli;
  open_standard_streams();
  end_on_signals();
  CLI::App program(
      "Quantizes large language models to 1-8 bits a weight, close to the information-theoretic "
      "limit,\n"
      "into one file whose size is the number it claims.",
      "watersic");
  use_our_help(program);
  program.set_version_flag("--version", std::string("watersic ") + watersic::kVersion,
                           "Print the version");
  program.set_help_flag("-h,--help", "Print this");
  program.require_subcommand(1);
  add_quantize(program);
  add_eval(program);
  add_finetune(program);
  add_layer(program);
  add_limit(program);
  add_inspect(program);
  add_verify(program);
  add_export(program);
  add_report(program);
  add_rotate(program);
  add_sweep(program);
  add_tokenize(program);
  add_generate(program);
  add_serve(program);
  add_bench(program);
  add_sample(program);
  add_synth(program);
  program.footer("Each has its own --help: watersic quantize --help");
  std::unique_ptr<const watersic::Ranks> ranks;
  try {
    ranks = std::make_unique<const watersic::Ranks>();
    check_command(*ranks, argc, argv);
    program.parse(argc, argv);
    if (stdout_is_written()) return 0;
    return fail(ranks.get(), "error: the standard output cannot be written", 1);
  } catch (const CLI::ParseError& e) {
    const int code = e.get_exit_code() == 0 ? 0 : 2;
    const bool alone = ranks->size() > 1 && code != 0 && !ranks->all_failed();
    if (alone || ranks->rank() == 0) program.exit(e);
    if (alone) ranks->end_all(code);
    return code;
  } catch (const watersic::Interrupted& e) {
    return fail(ranks.get(), e.what(), 75);
  } catch (const std::bad_alloc&) {
    return fail(ranks.get(), "error: out of memory", 1);
  } catch (const std::filesystem::filesystem_error& e) {
    return fail(ranks.get(), fmt::format("error: {}: {}", e.path1().string(), e.code().message()),
                1);
  } catch (const std::exception& e) {
    return fail(ranks.get(), fmt::format("error: {}", e.what()), 1);
  }
}
