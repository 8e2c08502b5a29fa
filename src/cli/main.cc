// watersic: the command line. Results go to stdout, messages to stderr; exit codes are 0, 1 for an
// error, 2 for wrong usage, 75 for a run that was stopped and can be resumed.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>

#include "commands.h"
#include "help.h"
#include "watersic/quantize.h"
#include "watersic/version.h"

int main(int argc, char** argv) {
  using namespace watersic::cli;
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
  add_bench(program);
  add_sample(program);
  add_synth(program);
  program.footer("Each has its own --help: watersic quantize --help");
  try {
    program.parse(argc, argv);
    if (std::fflush(stdout) == 0) return 0;
    fmt::print(stderr, "watersic: error: the standard output cannot be written\n");
  } catch (const CLI::ParseError& e) {
    const int code = program.exit(e);
    return code == 0 ? 0 : 2;
  } catch (const watersic::Interrupted& e) {
    fmt::print(stderr, "watersic: {}\n", e.what());
    return 75;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "watersic: error: out of memory\n");
  } catch (const std::exception& e) {
    fmt::print(stderr, "watersic: error: {}\n", e.what());
  }
  return 1;
}
