// Benchmarks' files, and the prompts that are made of them: docs/conventions.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "watersic/tasks.h"

namespace watersic {

struct Question {
  std::string prompt;
  std::vector<std::string> choices;  // each follows the prompt after one space
  std::vector<int64_t> right;        // of the choices; at least one
};

struct QuestionGroup {
  std::string name;         // MMLU: the subject
  std::string description;  // before all else in a prompt
  std::vector<Question> questions;
  std::vector<Question> examples;
  std::string examples_name;  // where they come from: what errors call it
};

// All questions, and as many examples as there are. Where examples come from the questions' own
// file, they are its first. Throws Error, naming the file and the line or the task in it.
std::vector<QuestionGroup> read_questions(const TaskOptions& options);

// The prompt of questions[index] after `shots` answered examples; an example that is the question
// itself is passed over. Throws Error where there are too few.
std::string prompt_of(const QuestionGroup& group, size_t index, int64_t shots);

// The files, one form each; `name` is what errors call the text.
std::vector<Question> read_hellaswag_jsonl(std::string_view text, const std::string& name);
std::vector<Question> read_hellaswag_lines(std::string_view text, const std::string& name);
std::vector<Question> read_mmlu_csv(std::string_view text, const std::string& name);
// Lines of this project's form, of ARC or of PIQA. `labels`: PIQA's, where they are in a file of
// their own, one a line; else empty.
std::vector<Question> read_choices_jsonl(std::string_view text, std::string_view labels,
                                         const std::string& name);
// What llama-perplexity --multiple-choice reads.
std::vector<Question> read_choices_binary(std::string_view bytes, const std::string& name);

// HellaSwag's cleaning of WikiHow's marks.
std::string without_brackets(std::string_view text);

}  // namespace watersic
