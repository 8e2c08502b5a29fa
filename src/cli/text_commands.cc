// tokenize and sample: a model's text.
#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "watersic/file.h"
#include "watersic/model.h"

namespace watersic::cli {

void add_tokenize(CLI::App& program) {
  struct Arguments {
    std::filesystem::path model, text;
    bool no_bos = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("tokenize",
                                             "Print the token ids of a text, one a line\n\n"
                                             "The ids that Hugging Face's encode gives.");
  command
      ->add_option("MODEL", arguments->model,
                   "A checkpoint (a folder or a GGUF file) or a .wsic file")
      ->required();
  command->add_option("--text,-t", arguments->text, "The text, UTF-8")
      ->required()
      ->type_name("FILE");
  command->add_flag("--no-bos", arguments->no_bos,
                    "Without the special tokens that the tokenizer adds");
  command->callback([arguments] {
    const auto ids = tokenize(arguments->model, read_text(arguments->text), !arguments->no_bos);
    fmt::memory_buffer out;
    for (const int32_t id : ids) fmt::format_to(std::back_inserter(out), "{}\n", id);
    fmt::print("{}", std::string_view(out.data(), out.size()));
  });
}

void add_sample(CLI::App& program) {
  struct Arguments {
    std::filesystem::path model;
    uint64_t seed = 1;
    int64_t tokens = 2048;
    int threads = 0;
    bool quiet = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("sample",
                                             "Print text that a model samples from itself\n\n"
                                             "From BOS (or the end-of-text token where there is "
                                             "none) at temperature 1, in as many sequences\n"
                                             "of the model's context as it takes.");
  command
      ->add_option("MODEL", arguments->model,
                   "A checkpoint (a folder or a GGUF file) or a .wsic file")
      ->required();
  command->add_option("--seed", arguments->seed, "Another seed, another text (default 1)")
      ->type_name("S");
  command->add_option("--tokens,-n", arguments->tokens, "How many (default 2048)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->type_name("N");
  add_threads(*command, arguments->threads);
  command->add_flag("--quiet,-q", arguments->quiet, "No progress");
  command->callback([arguments] {
    fmt::print("{}", sample_text(arguments->model, arguments->tokens, arguments->seed,
                                 arguments->threads, progress_printer(arguments->quiet)));
  });
}

}  // namespace watersic::cli
