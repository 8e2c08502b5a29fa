#include "watersic/serve.h"

#include <fmt/format.h>

#include <cstdlib>
#include <memory>

#include "commands.h"
#include "console.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic::cli {
namespace {

struct ServeArguments {
  std::filesystem::path model, key_file;
  bool quiet = false;
  int64_t body_mib = 1;
  ServeOptions options;
};

// From the file or the environment it is not in the list of processes.
std::string api_key(const ServeArguments& arguments) {
  std::string key = arguments.options.api_key;
  if (!arguments.key_file.empty()) {
    key = read_text(arguments.key_file);
    while (!key.empty() && (key.back() == '\n' || key.back() == '\r')) key.pop_back();
    if (key.empty())
      throw Error(
          fmt::format("{}: expected an API key, found nothing", arguments.key_file.string()));
  } else if (const char* set = std::getenv("WATERSIC_API_KEY"); key.empty() && set != nullptr) {
    key = set;
  }
  return key;
}

void run_serve(const ServeArguments& arguments) {
  ServeOptions options = arguments.options;
  options.api_key = api_key(arguments);
  options.body_bytes = static_cast<size_t>(arguments.body_mib) << 20;
  const auto ready = [&](const ServerInfo& server) {
    fmt::print("{}\n", server.url);
    if (!stdout_is_written()) return;
    if (!arguments.quiet)
      say(
          fmt::format("serving {} at {} (chat at {}/, API at {}/v1), {} texts at once of up to {} "
                      "tokens; {}\n",
                      printable(server.model), server.url, server.url, server.url, options.parallel,
                      server.context, options.api_key.empty() ? "no API key" : "with an API key"));
  };
  serve(arguments.model, options, stop_on_signals(), ready, progress_printer(arguments.quiet));
}

}  // namespace

void add_serve(CLI::App& program) {
  auto arguments = std::make_shared<ServeArguments>();
  ServeOptions& options = arguments->options;
  CLI::App* command = program.add_subcommand(
      "serve",
      "Answer over HTTP: OpenAI's API, and a page to chat with\n\n"
      "  watersic serve model.wsic\n"
      "  watersic serve model.wsic --port 9000 --parallel 8 --api-key-file key.txt\n\n"
      "Its address goes to stdout when it listens; with it as the base URL, and /v1 behind it,\n"
      "clients of OpenAI's API work. Requests are answered together, and each gets the text that\n"
      "its seed gives alone. SIGINT or SIGTERM: what is taken is answered, then it ends; at once\n"
      "when the signal comes again. docs/server.md says the rest.");
  command
      ->add_option("MODEL", arguments->model,
                   "A checkpoint (a folder or a GGUF file) or a .wsic file")
      ->required();
  command
      ->add_option("--host", options.host,
                   "The address to listen at (default 127.0.0.1: this machine only)")
      ->type_name("HOST");
  command->add_option("--port", options.port, "The port (default 8080; 0: any that is free)")
      ->check(CLI::Range(0, 65535))
      ->type_name("N");
  command->add_option("--name", options.name, "What requests call the model (default: its file)")
      ->type_name("NAME");
  command->add_option("--parallel", options.parallel, "Texts that are written at once (default 4)")
      ->check(CLI::Range(1, 64))
      ->type_name("N");
  command
      ->add_option("--queue", options.queue,
                   "Texts that wait for that; of more, requests get a 429 (default 32)")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
  command
      ->add_option("--context", options.context,
                   "Tokens of a text at most, its prompt included (default: the model's context, "
                   "or the part of it that fits into the memory)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->type_name("N");
  CLI::Option* key =
      command
          ->add_option("--api-key", options.api_key,
                       "What requests must have; others see it in the list of processes")
          ->type_name("KEY");
  command
      ->add_option("--api-key-file", arguments->key_file,
                   "The same from a file; else from the variable WATERSIC_API_KEY")
      ->excludes(key)
      ->type_name("FILE");
  command
      ->add_option("--timeout", options.request_seconds,
                   "Until an answer must be complete (default 600)")
      ->check(CLI::Range(1, 1'000'000))
      ->type_name("SECONDS");
  command->add_option("--body", arguments->body_mib, "Size of a request at most (default 1)")
      ->check(CLI::Range(1, 1024))
      ->type_name("MIB");
  add_weights(*command, options.weights);
  add_cache(*command, options.cache);
  add_threads(*command, options.threads);
  command->add_flag("--quiet,-q", arguments->quiet, "No progress, no message when it listens");
  command->callback([arguments] { run_serve(*arguments); });
}

}  // namespace watersic::cli
