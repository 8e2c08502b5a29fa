// Benchmarks' files as their authors and llama.cpp publish them.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>

#include "eval/python_text.h"
#include "eval/questions.h"
#include "io/json.h"
#include "io/text.h"
#include "watersic/error.h"

namespace watersic {
namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// Reads each line that is not blank; `read` is given the JSON object and the lines' count so far.
std::vector<Question> read_json_lines(
    std::string_view text, const std::string& name,
    const std::function<Question(const JsonFields&, size_t index)>& read) {
  std::vector<Question> questions;
  const auto lines = lines_of(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (strip(lines[i]).empty()) continue;
    const std::string line = fmt::format("{}: line {}", name, i + 1);
    const Json json = parse_json(lines[i], line);
    questions.push_back(read(JsonFields(json, line), questions.size()));
  }
  return questions;
}

std::vector<std::string> texts_of(const JsonFields& fields, const std::string& field) {
  std::vector<std::string> texts;
  for (const Json& text : fields.array(field)) {
    if (!text.is_string()) fields.fail(field, "an array of texts");
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

// What is common to all: choices that can be told apart by their likelihoods, and a right one.
Question checked(Question question, const std::string& where) {
  if (question.choices.size() < 2) {
    throw Error(
        fmt::format("{}: expected at least 2 choices, found {}", where, question.choices.size()));
  }
  for (const std::string& choice : question.choices)
    if (choice.empty())
      throw Error(where + ": expected a text for each choice, found an empty one");
  const auto count = static_cast<int64_t>(question.choices.size());
  if (question.right.empty()) throw Error(where + ": expected a choice that is right, found none");
  for (const int64_t right : question.right) {
    if (right < 0 || right >= count) {
      throw Error(fmt::format("{}: expected the right choice as a number from 0 to {}, found {}",
                              where, count - 1, right));
    }
  }
  return question;
}

// A label: a number, or as some copies have it, its digits.
int64_t label_of(const JsonFields& fields, const std::string& field) {
  if (!fields.has(field) || !fields.json().at(field).is_string()) return fields.integer(field);
  const auto text = fields.text(field);
  int64_t label = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (error != std::errc() || end != text.data() + text.size()) fields.fail(field, "a number");
  return label;
}

int64_t number_in(std::string_view line, const std::string& where) {
  const std::string_view digits = strip(line);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size())
    throw Error(fmt::format("{}: expected a number, found \"{}\"", where, digits));
  return number;
}

Question arc_question(const JsonFields& fields) {
  // As AI2 publishes it, the stem and the choices are in "question"; the datasets library has
  // columns, OpenBookQA's stem in one of its own.
  std::string stem;
  std::vector<std::string> labels;
  Question question;
  const bool continued = fields.has("question_stem"),
             columns =
                 continued || !fields.has("question") || fields.json().at("question").is_string();
  if (columns) {
    stem = fields.text(continued ? "question_stem" : "question");
    const JsonFields choices = fields.object("choices");
    question.choices = texts_of(choices, "text");
    labels = texts_of(choices, "label");
  } else {
    const JsonFields inner = fields.object("question");
    stem = inner.text("stem");
    for (const Json& choice : inner.array("choices")) {
      const JsonFields part(choice, inner.name() + ": choices");
      question.choices.push_back(part.text("text"));
      labels.push_back(part.text("label"));
    }
  }
  // The harness asks OpenBookQA's with the stem alone.
  question.prompt = continued ? stem : fmt::format("Question: {}\nAnswer:", stem);
  const auto right = std::ranges::find(labels, fields.text("answerKey"));
  if (right == labels.end() || labels.size() != question.choices.size())
    fields.fail("answerKey", "one of the choices' labels");
  question.right = {right - labels.begin()};
  return question;
}

Question piqa_question(const JsonFields& fields, std::span<const std::string_view> labels,
                       size_t index) {
  Question question{.prompt = fmt::format("Question: {}\nAnswer:", fields.text("goal")),
                    .choices = {fields.text("sol1"), fields.text("sol2")}};
  if (fields.has("label") || labels.empty()) {
    question.right = {label_of(fields, "label")};
  } else {
    if (index >= labels.size()) {
      throw Error(fmt::format("{}: expected a label for it in the file of labels, found {}",
                              fields.name(), labels.size()));
    }
    question.right = {
        number_in(labels[index], fmt::format("{}: its line of labels", fields.name()))};
  }
  return question;
}

Question plain_question(const JsonFields& fields) {
  return {.prompt = fields.has("context") ? fields.text("context") : fields.text("query"),
          .choices = texts_of(fields, "choices"),
          .right = {fields.integer("gold")}};
}

// Rows of fields as Python's csv module reads them: a quote opens a field only at its beginning,
// and stands for itself when doubled inside one.
std::vector<std::vector<std::string>> csv_rows(std::string_view text, const std::string& name) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  size_t at = 0;
  while (at < text.size()) {
    std::string field;
    if (text[at] == '"') {
      for (++at;; ++at) {
        if (at >= text.size()) {
          throw Error(fmt::format("{}: row {}: expected a closing quote, found the file's end",
                                  name, rows.size() + 1));
        }
        if (text[at] == '"' && text.substr(at + 1, 1) != "\"") break;
        if (text[at] == '"') ++at;
        field += text[at];
      }
      ++at;
    }
    const size_t end = std::min(text.find_first_of(",\r\n", at), text.size());
    field += text.substr(at, end - at);
    row.push_back(std::move(field));
    at = end;
    if (at < text.size() && text[at] == ',') {
      ++at;
      if (at < text.size()) continue;
      row.emplace_back();  // the file ends behind a comma
    }
    // Blank lines are no rows.
    if (row.size() > 1 || !row[0].empty()) rows.push_back(row);
    row.clear();
    if (text.substr(at, 2) == "\r\n") ++at;
    ++at;
  }
  return rows;
}

// Numbers and texts of a binary file, each checked against its end. `what`: of which file, too.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}

  uint32_t number(const std::string& what) {
    uint32_t value = 0;
    std::memcpy(&value, take(sizeof(value), what).data(), sizeof(value));
    return value;
  }
  std::string text(const std::string& what) {
    const std::string_view text = take(number(what), what);
    if (find_invalid_utf8(text) != std::string_view::npos)
      throw Error(fmt::format("{}: expected UTF-8, found other bytes", what));
    return std::string(text);
  }
  std::string_view take(size_t size, const std::string& what) {
    if (size > bytes_.size()) {
      throw Error(fmt::format("{}: expected {} bytes, found {} before the file's end", what, size,
                              bytes_.size()));
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  size_t left() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
};

// Choices with a flag each that says whether it is right.
void read_flagged_choices(Bytes& bytes, const std::string& where, Question& question) {
  constexpr uint32_t kMost = 100;  // llama.cpp's
  const uint32_t count = bytes.number(where + ": number of choices");
  if (count > kMost)
    throw Error(fmt::format("{}: expected at most {} choices, found {}", where, kMost, count));
  for (uint32_t i = 0; i < count; ++i)
    question.choices.push_back(bytes.text(fmt::format("{}: choice {}", where, i)));
  for (uint32_t i = 0; i < count; ++i)
    if (bytes.number(where + ": labels") == 1) question.right.push_back(i);
}

}  // namespace

std::string without_brackets(std::string_view text) {
  std::string rest = replace_all(strip(text), " [title]", ". "), kept;
  // What is between a bracket and the next that closes is dropped with both, unless the line ends
  // before.
  for (size_t at = 0; at < rest.size();) {
    const size_t end = rest[at] == '[' ? rest.find_first_of("]\n", at) : std::string::npos;
    if (end != std::string::npos && rest[end] == ']') {
      at = end + 1;
    } else {
      kept += rest[at++];
    }
  }
  return replace_all(kept, "  ", " ");
}

std::vector<Question> read_hellaswag_jsonl(std::string_view text, const std::string& name) {
  return read_json_lines(text, name, [](const JsonFields& fields, size_t) {
    const std::string activity = fields.text("activity_label"), context = fields.text("ctx_a"),
                      continued = fields.text("ctx_b");
    Question question{
        .prompt = without_brackets(activity + ": " + context + " " + capitalize(continued))};
    for (const std::string& ending : texts_of(fields, "endings"))
      question.choices.push_back(without_brackets(ending));
    question.right = {label_of(fields, "label")};
    return checked(std::move(question), fields.name());
  });
}

std::vector<Question> read_hellaswag_lines(std::string_view text, const std::string& name) {
  constexpr size_t kLines = 6;
  const auto lines = lines_of(text);
  if (lines.size() % kLines != 0) {
    throw Error(
        fmt::format("{}: expected six lines a task (context, label, four endings), found {} "
                    "lines in all",
                    name, lines.size()));
  }
  std::vector<Question> questions;
  for (size_t i = 0; i < lines.size(); i += kLines) {
    const std::string where = fmt::format("{}: line {}", name, i + 2);
    questions.push_back(checked({.prompt = std::string(lines[i]),
                                 .choices = {lines.begin() + static_cast<int64_t>(i) + 2,
                                             lines.begin() + static_cast<int64_t>(i + kLines)},
                                 .right = {number_in(lines[i + 1], where)}},
                                where));
  }
  return questions;
}

std::vector<Question> read_mmlu_csv(std::string_view text, const std::string& name) {
  std::vector<Question> questions;
  for (const auto& row : csv_rows(text, name)) {
    const std::string where = fmt::format("{}: row {}", name, questions.size() + 1);
    if (row.size() != 6) {
      throw Error(fmt::format("{}: expected 6 fields (question, A, B, C, D, answer), found {}",
                              where, row.size()));
    }
    if (row[5].size() != 1 || row[5][0] < 'A' || row[5][0] > 'D') {
      throw Error(fmt::format("{}: expected an answer from A to D, found \"{}\"", where, row[5]));
    }
    questions.push_back({.prompt = fmt::format("{}\nA. {}\nB. {}\nC. {}\nD. {}\nAnswer:",
                                               strip(row[0]), row[1], row[2], row[3], row[4]),
                         .choices = {"A", "B", "C", "D"},
                         .right = {row[5][0] - 'A'}});
  }
  return questions;
}

std::vector<Question> read_choices_jsonl(std::string_view text, std::string_view labels,
                                         const std::string& name) {
  const auto label_lines = lines_of(labels);
  return read_json_lines(text, name, [&](const JsonFields& fields, size_t index) {
    return checked(fields.has("goal")        ? piqa_question(fields, label_lines, index)
                   : fields.has("answerKey") ? arc_question(fields)
                                             : plain_question(fields),
                   fields.name());
  });
}

std::vector<Question> read_choices_binary(std::string_view data, const std::string& name) {
  Bytes bytes(data);
  const uint32_t count = bytes.number(name + ": number of tasks");
  // Then the offset of each task, for who wants to read only some.
  if (count > bytes.left() / sizeof(uint32_t)) {
    throw Error(fmt::format("{}: expected an offset for each of {} tasks, found {} bytes", name,
                            count, bytes.left()));
  }
  bytes.take(count * sizeof(uint32_t), name);
  std::vector<Question> questions;
  for (uint32_t i = 0; i < count; ++i) {
    const std::string where = fmt::format("{}: task {}", name, i);
    Question question{.prompt = bytes.text(where + ": question")};
    read_flagged_choices(bytes, where, question);
    Question several;  // a second list, with several right choices: llama.cpp skips it too
    read_flagged_choices(bytes, where + ": second list", several);
    questions.push_back(checked(std::move(question), where));
  }
  return questions;
}

}  // namespace watersic
