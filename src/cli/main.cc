// watersic: the command line. Results go to stdout, messages to stderr; exit codes are 0, 1 for an
// error, 2 for wrong usage, 75 for a run that was stopped and can be resumed, 128 and its number
// for a signal.
#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <new>

#include "commands.h"
#include "console.h"
#include "help.h"
#include "watersic/quantize.h"
#include "watersic/version.h"

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
  try {
    program.parse(argc, argv);
    if (stdout_is_written()) return 0;
    say_message("error: the standard output cannot be written");
  } catch (const CLI::ParseError& e) {
    const int code = program.exit(e);
    return code == 0 ? 0 : 2;
  } catch (const watersic::Interrupted& e) {
    say_message(e.what());
    return 75;
  } catch (const std::bad_alloc&) {
    say_message("error: out of memory");
  } catch (const std::filesystem::filesystem_error& e) {
    say_message(fmt::format("error: {}: {}", e.path1().string(), e.code().message()));
  } catch (const std::exception& e) {
    say_message(fmt::format("error: {}", e.what()));
  }
  return 1;
}
