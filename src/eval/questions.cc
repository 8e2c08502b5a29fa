#include "eval/questions.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "eval/python_text.h"
#include "io/mapped_file.h"
#include "io/text.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// A file of one of the two forms that JSON's opening brace tells apart.
bool is_json(std::string_view text) { return strip(text).starts_with('{'); }

// Without the byte order mark that some programs write before UTF-8.
std::string read_task_text(const std::filesystem::path& path) {
  std::string text = read_text(path);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

std::vector<Question> read_file(Task task, const std::filesystem::path& path) {
  const std::string name = path.string();
  if (task == Task::kHellaSwag) {
    const std::string text = read_task_text(path);
    return is_json(text) ? read_hellaswag_jsonl(text, name) : read_hellaswag_lines(text, name);
  }
  const MappedFile file(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  // A binary file begins with its number of tasks in four bytes, of which the last is zero.
  if (bytes.size() < 4 || bytes.substr(0, 4).find('\0') != std::string_view::npos)
    return read_choices_binary(bytes, name);
  const std::string text = read_task_text(path);
  std::filesystem::path labels = path;
  labels.replace_filename(path.stem().string() + "-labels.lst");
  return read_choices_jsonl(text, std::filesystem::exists(labels) ? read_task_text(labels) : "",
                            name);
}

std::vector<QuestionGroup> read_mmlu(const std::filesystem::path& data,
                                     const std::filesystem::path& examples, bool with_examples) {
  constexpr std::string_view kEnd = "_test.csv";
  const std::filesystem::path test = data / "test";
  if (!std::filesystem::is_directory(test)) {
    throw Error(fmt::format("{}: expected a folder with dev/ and test/, found no {}", data.string(),
                            test.string()));
  }
  std::set<std::string> subjects;
  for (const auto& entry : std::filesystem::directory_iterator(test)) {
    const std::string file = entry.path().filename().string();
    if (file.ends_with(kEnd)) subjects.insert(file.substr(0, file.size() - kEnd.size()));
  }
  if (subjects.empty())
    throw Error(fmt::format("{}: expected files SUBJECT{}, found none", test.string(), kEnd));
  std::vector<QuestionGroup> groups;
  for (const std::string& subject : subjects) {
    const auto read = [](const std::filesystem::path& path) {
      return read_mmlu_csv(read_task_text(path), path.string());
    };
    QuestionGroup group{.name = subject,
                        .description = fmt::format("The following are multiple choice questions "
                                                   "(with answers) about {}.\n\n",
                                                   replace_all(subject, "_", " ")),
                        .questions = read(test / (subject + std::string(kEnd)))};
    if (with_examples) {
      const std::filesystem::path dev = examples / (subject + "_dev.csv");
      group.examples = read(dev);
      group.examples_name = dev.string();
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace

std::vector<QuestionGroup> read_questions(const TaskOptions& options) {
  std::vector<QuestionGroup> groups;
  if (options.task == Task::kMmlu) {
    groups =
        read_mmlu(options.data, options.examples.empty() ? options.data / "dev" : options.examples,
                  options.shots > 0);
  } else {
    groups.emplace_back().questions = read_file(options.task, options.data);
    if (options.shots > 0) {
      const bool own = options.examples.empty();
      groups[0].examples = own ? groups[0].questions : read_file(options.task, options.examples);
      groups[0].examples_name = (own ? options.data : options.examples).string();
    }
  }
  for (QuestionGroup& group : groups) {
    if (group.questions.empty()) {
      throw Error(fmt::format("{}: {}{}expected questions, found none", options.data.string(),
                              group.name, group.name.empty() ? "" : ": "));
    }
    const auto limit = static_cast<size_t>(options.limit);
    if (limit > 0 && group.questions.size() > limit) group.questions.resize(limit);
  }
  return groups;
}

std::string prompt_of(const QuestionGroup& group, size_t index, int64_t shots) {
  const Question& question = group.questions[index];
  std::string prompt = group.description;
  int64_t shown = 0;
  for (size_t i = 0; shown < shots && i < group.examples.size(); ++i) {
    const Question& example = group.examples[i];
    if (example.prompt == question.prompt && example.choices == question.choices) continue;
    prompt +=
        example.prompt + " " + example.choices[static_cast<size_t>(example.right[0])] + "\n\n";
    ++shown;
  }
  if (shown < shots) {
    throw Error(fmt::format("{}: expected at least {} examples for a question, found {}",
                            group.examples_name, shots, shown));
  }
  return prompt + question.prompt;
}

}  // namespace watersic
