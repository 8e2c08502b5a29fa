#include "eval/questions.h"

#include <gtest/gtest.h>

#include "io/text.h"
#include "support/error_of.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"

namespace watersic {
namespace {

using Choices = std::vector<std::string>;

std::filesystem::path data(const std::string& name) {
  return std::filesystem::path(WATERSIC_SOURCE_DIR) / "tests/data/tasks" / name;
}

std::vector<QuestionGroup> read(Task task, const std::string& name, int64_t shots = 0,
                                const std::string& examples = "") {
  return read_questions({.task = task,
                         .data = data(name),
                         .shots = shots,
                         .examples = examples.empty() ? "" : data(examples)});
}

void expect_same(const std::vector<Question>& a, const std::vector<Question>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].prompt, b[i].prompt);
    EXPECT_EQ(a[i].choices, b[i].choices);
    EXPECT_EQ(a[i].right, b[i].right);
  }
}

TEST(HellaSwag, LosesItsBrackets) {
  EXPECT_EQ(without_brackets(" [header] How to dig [title] Begin. [step] Dig [[x] y] on. "),
            " How to dig. Begin. Dig y] on.");
  EXPECT_EQ(without_brackets("a [not closed"), "a [not closed");
  EXPECT_EQ(without_brackets("a [b\nc] d"), "a [b\nc] d");
  EXPECT_EQ(without_brackets("[] x [[\n] y]"), " x [[\n] y]");
  EXPECT_EQ(without_brackets(""), "");
}

TEST(HellaSwag, IsReadAsItsAuthorsPublishIt) {
  const auto groups = read(Task::kHellaSwag, "hellaswag_val.jsonl");
  ASSERT_EQ(groups.size(), 1U);
  const auto& questions = groups[0].questions;
  ASSERT_EQ(questions.size(), 10U);
  EXPECT_EQ(questions[0].prompt,
            "Rowing: Two men carry a long boat down to the river and set it upon the water. They");
  EXPECT_EQ(questions[0].choices[3], "read the river aloud to a horse.");
  EXPECT_EQ(questions[1].right, std::vector<int64_t>{1});
  // WikiHow's marks; no second half of the context, so nothing follows.
  EXPECT_EQ(questions[2].prompt,
            "Home and Garden: How to lay a fire. Clean the grate. Take out the old ashes with a "
            "small shovel. Leave a thin layer of ash at the bottom.");
  EXPECT_EQ(questions[2].choices[0], " Sit upon the grate. Sit there until it is warm.");
  EXPECT_EQ(questions[2].choices[1], "Put the ashes back again, and again, until there are none.");
  EXPECT_TRUE(questions[8].prompt.ends_with(" upon it. He")) << questions[8].prompt;
}

TEST(HellaSwag, IsTheSameAsLlamaCppHasIt) {
  expect_same(read(Task::kHellaSwag, "hellaswag_val.jsonl")[0].questions,
              read(Task::kHellaSwag, "hellaswag_llama.txt")[0].questions);
}

TEST(HellaSwag, LabelsMayBeTexts) {
  const std::string line =
      R"({"activity_label": "A", "ctx_a": "b.", "ctx_b": "c", "endings": ["x", "y"], "label": "1"})";
  EXPECT_EQ(read_hellaswag_jsonl(line + "\n\n" + line, "f").back().right, std::vector<int64_t>{1});
  const auto broken = [&](const std::string& from, const std::string& to) {
    std::string text = line;
    text.replace(text.find(from), from.size(), to);
    return error_of([&] { read_hellaswag_jsonl(line + "\n" + text, "f"); });
  };
  EXPECT_EQ(broken("\"1\"", "\"2\""),
            "f: line 2: expected the right choice as a number from 0 to 1, found 2");
  EXPECT_EQ(broken("\"1\"", "\"\"").find("f: line 2: label: expected a number"), 0U);
  EXPECT_EQ(broken(", \"label\": \"1\"", "").find("f: line 2: label"), 0U);
  EXPECT_EQ(broken("\"y\"", "\"[y]\""),
            "f: line 2: expected a text for each choice, found an empty one");
  EXPECT_EQ(broken("\"y\"", "7").find("f: line 2: endings: expected an array of texts"), 0U);
  EXPECT_EQ(broken("{", "").find("f: line 2"), 0U);
}

TEST(HellaSwag, SixLinesATask) {
  EXPECT_EQ(read_hellaswag_lines("c\n3\na\nb\nd\ne", "f").at(0).right, std::vector<int64_t>{3});
  EXPECT_EQ(error_of([] { read_hellaswag_lines("c\n0\na\nb\nd\n", "f"); }),
            "f: expected six lines a task (context, label, four endings), found 5 lines in all");
  EXPECT_EQ(error_of([] { read_hellaswag_lines("c\n4\na\nb\nd\ne\n", "f"); }),
            "f: line 2: expected the right choice as a number from 0 to 3, found 4");
  EXPECT_EQ(error_of([] { read_hellaswag_lines("c\nx\na\nb\nd\ne\n", "f"); }),
            "f: line 2: expected a number, found \"x\"");
}

TEST(Mmlu, IsReadFromItsFolder) {
  const auto groups = read(Task::kMmlu, "mmlu", 2);
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0].name, "ancient_history");
  EXPECT_EQ(groups[1].name, "natural_philosophy");
  EXPECT_EQ(groups[2].name, "seamanship");
  EXPECT_EQ(groups[0].questions.size(), 7U);
  EXPECT_EQ(groups[2].questions.size(), 5U);
  EXPECT_EQ(prompt_of(groups[0], 2, 2),
            "The following are multiple choice questions (with answers) about ancient history.\n\n"
            "Which city was ruled by Pericles?\nA. Rome\nB. Athens\nC. Carthage\nD. Tyre\n"
            "Answer: B\n\n"
            "The general who crossed the Alps with elephants was\n"
            "A. Hannibal\nB. Caesar\nC. Xerxes\nD. Pompey\nAnswer: A\n\n"
            "Which of these was a king of Macedon?\nA. Solon\nB. Draco\nC. Philip\nD. Cicero\n"
            "Answer:");
  EXPECT_EQ(groups[0].questions[4].prompt.substr(0, 68),
            "Who is said to have spoken the words \"I came, I saw, I conquered\"?\nA");
  EXPECT_EQ(groups[1].questions[2].prompt,
            "Which of the following is a metal?\nI. Copper\nII. Chalk\nA. Neither\nB. II only\n"
            "C. I only\nD. Both I and II\nAnswer:");
  EXPECT_EQ(groups[1].questions[2].choices, (Choices{"A", "B", "C", "D"}));
  EXPECT_EQ(groups[2].questions[4].right, std::vector<int64_t>{1});
  EXPECT_EQ(error_of([&] { prompt_of(groups[0], 0, 6); }),
            data("mmlu/dev/ancient_history_dev.csv").string() +
                ": expected at least 6 examples for a question, found 5");
}

TEST(Mmlu, CsvIsReadAsPythonReadsIt) {
  const auto prompt = [](const std::string& row) { return read_mmlu_csv(row, "f").at(0).prompt; };
  EXPECT_EQ(prompt("\"q \"\"r\"\", s\"x,1,2,3, 4 ,D"),
            "q \"r\", sx\nA. 1\nB. 2\nC. 3\nD.  4 \nAnswer:");
  EXPECT_EQ(prompt("q\"r\",\"\",,3,4,A\r\n"), "q\"r\"\nA. \nB. \nC. 3\nD. 4\nAnswer:");
  EXPECT_EQ(read_mmlu_csv("q,1,2,3,4,A\n\n\nr,1,2,3,4,B", "f").size(), 2U);
  EXPECT_EQ(error_of([] { read_mmlu_csv("q,1,2,3,4,A\nr,1,2,3,4\n", "f"); }),
            "f: row 2: expected 6 fields (question, A, B, C, D, answer), found 5");
  EXPECT_EQ(error_of([] { read_mmlu_csv("q,1,2,3,4,", "f"); }),
            "f: row 1: expected an answer from A to D, found \"\"");
  EXPECT_EQ(error_of([] { read_mmlu_csv("q,1,2,3,4,E", "f"); }),
            "f: row 1: expected an answer from A to D, found \"E\"");
  EXPECT_EQ(error_of([] { read_mmlu_csv("q,\"1,2,3,4,A\n", "f"); }),
            "f: row 1: expected a closing quote, found the file's end");
}

TEST(Mmlu, ErrorsNameTheFolder) {
  EXPECT_NE(error_of([] { read(Task::kMmlu, "."); }).find("expected a folder with dev/ and test/"),
            std::string::npos);
  const TestFolder folder("mmlu");
  std::filesystem::create_directories(folder / "test");
  const auto run = [&](int64_t shots) {
    return error_of(
        [&] { read_questions({.task = Task::kMmlu, .data = folder.path(), .shots = shots}); });
  };
  EXPECT_NE(run(0).find("expected files SUBJECT_test.csv, found none"), std::string::npos);
  write_file(folder / "test/alchemy_test.csv", "\n");
  EXPECT_NE(run(0).find("alchemy: expected questions, found none"), std::string::npos) << run(0);
  write_file(folder / "test/alchemy_test.csv", "q,1,2,3,4,A\n");
  EXPECT_EQ(run(0), "");
  EXPECT_NE(run(1).find("alchemy_dev.csv"), std::string::npos);
}

TEST(MultipleChoice, ReadsOurLines) {
  const auto questions = read(Task::kMultipleChoice, "questions.jsonl")[0].questions;
  ASSERT_EQ(questions.size(), 11U);
  EXPECT_EQ(questions[0].prompt, "The old man sat down by the fire and");
  EXPECT_EQ(questions[1].prompt, "\"I shall never forgive him,\" said the girl, and she");
  EXPECT_EQ(questions[8].choices, (Choices{"naïve.", "green.", "under the bed."}));
  EXPECT_EQ(questions[8].right, std::vector<int64_t>{1});
  EXPECT_EQ(questions[10].prompt, "");
}

TEST(MultipleChoice, ReadsArcsAndPiqasLines) {
  const auto arc = read(Task::kMultipleChoice, "arc.jsonl")[0].questions;
  ASSERT_EQ(arc.size(), 4U);
  EXPECT_EQ(arc[0].prompt, "Question: Which animal lays eggs?\nAnswer:");
  EXPECT_EQ(arc[0].choices, (Choices{"a cow", "a hen", "a horse", "a dog"}));
  EXPECT_EQ(arc[0].right, std::vector<int64_t>{1});
  EXPECT_EQ(arc[1].right, std::vector<int64_t>{0});  // labels are digits
  EXPECT_EQ(arc[3].prompt, "Question: The sun rises in the\nAnswer:");
  EXPECT_EQ(arc[3].choices, (Choices{"west", "north", "east"}));
  EXPECT_EQ(arc[3].right, std::vector<int64_t>{2});
  const auto piqa = read(Task::kMultipleChoice, "piqa.jsonl")[0].questions;
  ASSERT_EQ(piqa.size(), 3U);
  EXPECT_EQ(piqa[1].prompt, "Question: How do you sharpen a pencil?\nAnswer:");
  EXPECT_EQ(piqa[1].choices[1], "Cut away the wood with a knife.");
  EXPECT_EQ(piqa[1].right, std::vector<int64_t>{1});
  const std::string stem = R"({"question_stem": "Water in a kettle", "answerKey": "B", )"
                           R"("choices": {"text": ["freezes", "boils"], "label": ["A", "B"]}})";
  const Question open_book = read_choices_jsonl(stem, "", "f").at(0);
  EXPECT_EQ(open_book.prompt, "Water in a kettle");
  EXPECT_EQ(open_book.right, std::vector<int64_t>{1});
  const std::string own = R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 1})";
  EXPECT_EQ(read_choices_jsonl(own, "0\n", "f").at(0).right, std::vector<int64_t>{1});
}

// As an editor on Windows saves it.
TEST(TaskFiles, AByteOrderMarkIsNoText) {
  const TestFolder folder("mark");
  const std::string mark = "\xEF\xBB\xBF",
                    line = R"({"activity_label": "Tea", "ctx_a": "Water boils", "ctx_b": "she",)"
                           R"( "endings": ["sits", "pours"], "label": 1})";
  write_file(folder / "a.jsonl", mark + line + "\n");
  const auto questions = read_questions({.task = Task::kHellaSwag, .data = folder / "a.jsonl"});
  ASSERT_EQ(questions.at(0).questions.size(), 1U);
  EXPECT_EQ(questions[0].questions[0].prompt, "Tea: Water boils She");
}

TEST(MultipleChoice, LinesThatAreWrongAreNamed) {
  const auto error = [](const std::string& line, const std::string& labels = "") {
    return error_of([&] { read_choices_jsonl(line, labels, "f"); });
  };
  EXPECT_EQ(error(R"({"query": "q", "choices": ["a"], "gold": 0})"),
            "f: line 1: expected at least 2 choices, found 1");
  EXPECT_EQ(error(R"({"query": "q", "choices": ["a", "b"], "gold": -1})"),
            "f: line 1: expected the right choice as a number from 0 to 1, found -1");
  EXPECT_NE(error(R"({"choices": ["a", "b"], "gold": 0})").find("f: line 1: query"),
            std::string::npos);
  EXPECT_NE(error(R"({"query": "q", "choices": "ab", "gold": 0})").find("f: line 1: choices"),
            std::string::npos);
  EXPECT_NE(error(R"({"question": {"stem": "s", "choices": [{"text": "a", "label": "A"},
                      {"text": "b", "label": "B"}]}, "answerKey": "C"})")
                .find("f: line 1"),
            std::string::npos);
  EXPECT_NE(error(R"({"question": "s", "choices": {"text": ["a", "b"], "label": ["A"]},)"
                  R"( "answerKey": "A"})")
                .find("answerKey: expected one of the choices' labels"),
            std::string::npos);
  EXPECT_EQ(error(R"({"choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"})"),
            "f: line 1: question: expected a string, found no such field");
  const std::string piqa = R"({"goal": "g", "sol1": "a", "sol2": "b"})";
  EXPECT_NE(error(piqa).find("f: line 1: label"), std::string::npos);
  EXPECT_NE(error(piqa + "\n" + piqa, "1\n").find("f: line 2: expected a label"),
            std::string::npos);
  EXPECT_NE(error(piqa, "yes\n").find("expected a number, found \"yes\""), std::string::npos);
  EXPECT_NE(error("[1]").find("f: line 1"), std::string::npos);
}

TEST(MultipleChoice, ReadsLlamaCppsBinaryForm) {
  auto lines = read(Task::kMultipleChoice, "questions.jsonl")[0].questions;
  lines.pop_back();  // has no prompt
  expect_same(read(Task::kMultipleChoice, "questions.bin")[0].questions, lines);
}

TEST(MultipleChoice, DamagedBinaryFilesAreErrors) {
  std::string bytes;
  {
    const auto number = [&](uint32_t n) {
      for (int i = 0; i < 4; ++i) bytes += static_cast<char>(n >> (8 * i));
    };
    const auto text = [&](const std::string& t) {
      number(static_cast<uint32_t>(t.size()));
      bytes += t;
    };
    number(1);
    number(8);
    text("q");
    number(2);
    text("a");
    text("bc");
    number(1);
    number(1);  // both are right
    number(1);
    text("several");
    number(0);
  }
  const auto questions = read_choices_binary(bytes, "f");
  ASSERT_EQ(questions.size(), 1U);
  EXPECT_EQ(questions[0].prompt, "q");
  EXPECT_EQ(questions[0].choices, (Choices{"a", "bc"}));
  EXPECT_EQ(questions[0].right, (std::vector<int64_t>{0, 1}));

  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string error =
        error_of([&] { read_choices_binary(std::string_view(bytes).substr(0, size), "f"); });
    EXPECT_EQ(error.rfind("f: ", 0), 0U) << size << ": " << error;
  }
  const auto changed = [&](size_t at, char to) {
    std::string copy = bytes;
    copy[at] = to;
    return error_of([&] { read_choices_binary(copy, "f"); });
  };
  EXPECT_EQ(changed(3, '\x7F'), "f: expected an offset for each of 2130706433 tasks, found " +
                                    std::to_string(bytes.size() - 4) + " bytes");
  EXPECT_NE(changed(11, '\x7F').find("f: task 0: question: expected"), std::string::npos);
  EXPECT_EQ(changed(13, 101), "f: task 0: expected at most 100 choices, found 101");
  EXPECT_EQ(changed(12, '\xFF'), "f: task 0: question: expected UTF-8, found other bytes");
}

TEST(Examples, AreTheFirstOnesButNotTheQuestionItself) {
  const auto own = read(Task::kMultipleChoice, "piqa.jsonl", 2)[0];
  const std::string milk =
                        "Question: To keep milk fresh in summer,\nAnswer: stand the jug in cold "
                        "water.\n\n",
                    pencil =
                        "Question: How do you sharpen a pencil?\nAnswer: Cut away the wood "
                        "with a knife.\n\n",
                    coat = "Question: To dry a wet coat,\nAnswer: hang it near the fire.\n\n";
  EXPECT_EQ(prompt_of(own, 2, 2), milk + pencil + "Question: To dry a wet coat,\nAnswer:");
  EXPECT_EQ(prompt_of(own, 0, 2),
            pencil + coat + "Question: To keep milk fresh in summer,\nAnswer:");
  EXPECT_EQ(error_of([&] { prompt_of(own, 0, 3); }),
            data("piqa.jsonl").string() + ": expected at least 3 examples for a question, found 2");
  const auto other = read(Task::kMultipleChoice, "arc.jsonl", 1, "piqa.jsonl")[0];
  EXPECT_EQ(prompt_of(other, 3, 1), milk + "Question: The sun rises in the\nAnswer:");
  const auto from = read_questions({.task = Task::kMmlu,
                                    .data = data("mmlu"),
                                    .shots = 1,
                                    .examples = data("mmlu/dev"),
                                    .limit = 2});
  EXPECT_EQ(from[0].questions.size(), 2U);
  EXPECT_EQ(from[0].examples.size(), 5U);
}

}  // namespace
}  // namespace watersic
