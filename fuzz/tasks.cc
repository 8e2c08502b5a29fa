// Benchmarks' files (eval/questions.h).
#include <nlohmann/json.hpp>

#include "eval/questions.h"
#include "fuzz.h"
#include "io/text.h"

namespace watersic {
namespace {

// The first byte of an input says which reader it is for.
constexpr char kLast = '4';

std::string binary_tasks() {
  std::string out;
  const auto number = [&](uint32_t n) { out.append(reinterpret_cast<const char*>(&n), 4); };
  const auto text = [&](std::string_view s) {
    number(static_cast<uint32_t>(s.size()));
    out += s;
  };
  number(1);  // tasks
  number(8);  // where the first begins
  text("Is water wet?");
  for (int answers = 0; answers < 2; ++answers) {
    number(2);
    text("yes");
    text("no");
    number(1);
    number(0);
  }
  return out;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {
      R"(0{"ind": 1, "activity_label": "Sailing", "ctx_a": "A boat is seen.", "ctx_b": "it", "ctx": "A boat is seen. it", "endings": ["sinks.", "sails [step] on.", "flies.", "sings."], "label": 1})",
      "1Sailing: A boat is seen. it\n1\nsinks.\nsails on.\nflies.\nsings.\n",
      "2\"What, then, is \"\"wet\"\"?\",sand,water,fire,air,B\nWhat is 2+2?,1,2,3,4,D\n",
      R"(3{"question": {"stem": "Is it?", "choices": [{"text": "yes", "label": "A"}, {"text": "no", "label": "B"}]}, "answerKey": "A"})",
      "4" + binary_tasks(),
  };
}

void fuzz_input(const std::string& input) {
  if (input.empty()) return;
  const std::string_view text = std::string_view(input).substr(1);
  // As read_text leaves it; the binary form is looked through as it is read.
  if (input[0] >= '0' && input[0] < kLast && find_invalid_utf8(text) != std::string_view::npos)
    return;
  std::vector<Question> questions;
  switch (input[0]) {
    case '0':
      questions = read_hellaswag_jsonl(text, "tasks");
      break;
    case '1':
      questions = read_hellaswag_lines(text, "tasks");
      break;
    case '2':
      questions = read_mmlu_csv(text, "tasks");
      break;
    case '3':
      questions = read_choices_jsonl(text, "", "tasks");
      break;
    default:
      questions = read_choices_binary(text, "tasks");
  }
  const QuestionGroup group{.name = "group",
                            .description = "",
                            .questions = questions,
                            .examples = questions,
                            .examples_name = "tasks"};
  for (size_t i = 0; i < std::min<size_t>(2, questions.size()); ++i)
    prompt_of(group, i, questions.size() > 1 ? 1 : 0);
}

std::string fuzz_mutate(const std::string& input, Rng& rng) {
  std::string kind = input.substr(0, 1), rest = input.empty() ? "" : input.substr(1);
  if (rng.below(20) == 0) kind = static_cast<char>('0' + rng.below(kLast - '0' + 1));
  const bool json = kind == "0" || kind == "3";
  return kind + (json && rng.below(3) != 0 ? mutate_json(rest, rng) : mutate_bytes(rest, rng));
}

}  // namespace watersic
