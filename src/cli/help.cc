#include "help.h"

#include <fmt/format.h>

#include <memory>
#include <sstream>
#include <string>

namespace watersic::cli {
namespace {

constexpr size_t kColumn = 32;  // where descriptions of options begin
constexpr size_t kWidth = 66;   // of those

std::string wrapped(const std::string& text) {
  std::istringstream words(text);
  std::string out, word;
  size_t column = 0;
  while (words >> word) {
    if (column > 0 && column + 1 + word.size() > kWidth) {
      out += '\n';
      column = 0;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

class Formatter : public CLI::Formatter {
 public:
  Formatter() { column_width(kColumn); }

  std::string make_description(const CLI::App* app) const override {
    return app->get_description() + "\n\n";
  }

  std::string make_subcommand(const CLI::App* command) const override {
    const std::string& all = command->get_description();
    return fmt::format("  {:<10}{}\n", command->get_name(), all.substr(0, all.find('\n')));
  }

  // Without CLI11's remarks on flags' values and on checks: the descriptions say it.
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    const std::string name = CLI::Formatter::make_option_name(option, positional);
    return name.substr(0, name.find('{'));
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_positional() || option->get_type_size() == 0) return "";
    const std::string type = option->get_type_name();
    return " " + type.substr(0, type.find(':'));
  }
  std::string make_option_desc(const CLI::Option* option) const override {
    const bool mark = option->get_required() && !option->get_positional();
    return wrapped(option->get_description() + (mark ? " (required)" : ""));
  }
};

}  // namespace

void use_our_help(CLI::App& program) {
  program.formatter(std::make_shared<Formatter>());
  program.failure_message([](const CLI::App* app, const CLI::Error& error) {
    std::string name = app->get_name();
    for (auto chosen = app->get_subcommands(); !chosen.empty();
         chosen = chosen.front()->get_subcommands())
      name += " " + chosen.front()->get_name();
    return fmt::format("{0}: {1}; see {0} --help\n", name, error.what());
  });
}

}  // namespace watersic::cli
