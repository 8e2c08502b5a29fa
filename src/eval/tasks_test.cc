// run_task() on files, against the definitions in docs/conventions.md.
#include "watersic/tasks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "eval/questions.h"
#include "eval/score.h"
#include "io/json.h"
#include "io/text.h"
#include "model/forward.h"
#include "runtime/open_model.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"

namespace watersic {
namespace {

class Tasks : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder("tasks");
    ThreadPool pool;
    write_small_checkpoint(pool, *folder_ / "model", 1);
    write_small_checkpoint(pool, *folder_ / "other", 2);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::filesystem::path file(const std::string& name) { return *folder_ / name; }
  static std::filesystem::path data(const std::string& name) {
    return std::filesystem::path(WATERSIC_SOURCE_DIR) / "tests/data/tasks" / name;
  }
  static TaskResult run(TaskOptions options) {
    options.threads = 2;
    return run_task(file("model"), options);
  }
  static std::string error_of(const TaskOptions& options) {
    try {
      run(options);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  }

  static TestFolder* folder_;
};
TestFolder* Tasks::folder_ = nullptr;

// One choice at a time, from the text, as the conventions are written.
struct Plain {
  double log_likelihood = 0, per_character = 0, per_byte = 0, per_token = 0;
};
std::vector<Plain> plain_answers(ThreadPool& pool, const OpenModel& model,
                                 const std::string& prompt, const std::vector<std::string>& choices,
                                 bool bos = true) {
  const Tokenizer tokenizer = model.tokenizer();
  const OutputHead head(model.config(), model.weights());
  std::vector<std::vector<int32_t>> wholes;
  for (const std::string& choice : choices)
    wholes.push_back(tokenizer.encode(prompt + " " + choice, bos));
  size_t common = 0;
  const auto all_have = [&](size_t at) {
    for (const auto& whole : wholes)
      if (at >= whole.size() || whole[at] != wholes[0][at]) return false;
    return true;
  };
  while (all_have(common)) ++common;
  std::string bare = prompt;
  while (bare.ends_with(' ')) bare.pop_back();
  const size_t begin = tokenizer.encode(bare, bos).size();
  std::vector<Plain> answers;
  for (size_t c = 0; c < choices.size(); ++c) {
    const auto& ids = wholes[c];
    const Matrix<float> logits = head.logits(
        pool, forward_all(pool, model.config(), model.weights(),
                          std::vector<std::vector<int32_t>>{{ids.begin(), ids.end() - 1}}));
    Plain plain;
    for (size_t t = std::min(begin, common); t < ids.size(); ++t) {
      const auto row = logits.row(static_cast<int64_t>(t) - 1);
      const double ln_p = static_cast<double>(row[static_cast<size_t>(ids[t])]) - log_sum_exp(row);
      if (t >= begin) plain.log_likelihood += ln_p;
      if (t >= common) plain.per_token += ln_p / static_cast<double>(ids.size() - common);
    }
    double characters = 0;
    for (const char byte : choices[c]) characters += (byte & 0xC0) != 0x80 ? 1 : 0;
    plain.per_character = plain.log_likelihood / characters;
    plain.per_byte = plain.log_likelihood / static_cast<double>(choices[c].size());
    answers.push_back(plain);
  }
  return answers;
}

int64_t best(const std::vector<Plain>& answers, double Plain::*value) {
  size_t pick = 0;
  for (size_t i = 1; i < answers.size(); ++i)
    if (answers[i].*value > answers[pick].*value) pick = i;
  return static_cast<int64_t>(pick);
}

TEST_F(Tasks, PickAsTheConventionsSay) {
  ThreadPool pool(2);
  const auto model = open_model(file("model"), pool);
  const std::vector<TaskOptions> runs{
      {.task = Task::kHellaSwag, .data = data("hellaswag_val.jsonl")},
      {.task = Task::kMultipleChoice, .data = data("questions.bin"), .shots = 1},
      {.task = Task::kMultipleChoice, .data = data("arc.jsonl"), .bos = false},
      {.task = Task::kMmlu, .data = data("mmlu"), .shots = 1, .limit = 4}};
  for (const TaskOptions& options : runs) {
    const TaskResult result = run(options);
    EXPECT_EQ(result.bos, options.bos);
    EXPECT_EQ(result.truncated, 0);
    size_t at = 0;
    PerMetric<double> right{};
    for (const QuestionGroup& group : read_questions(options)) {
      for (size_t q = 0; q < group.questions.size(); ++q, ++at) {
        const Question& question = group.questions[q];
        const auto expected = plain_answers(pool, *model, prompt_of(group, q, options.shots),
                                            question.choices, options.bos);
        const Answer& answer = result.answers.at(at);
        EXPECT_EQ(answer.right, question.right);
        for (size_t c = 0; c < expected.size(); ++c)
          EXPECT_NEAR(answer.log_likelihoods.at(c), expected[c].log_likelihood, 1e-3);
        const PerMetric<int64_t> picks{
            best(expected, &Plain::log_likelihood), best(expected, &Plain::per_character),
            best(expected, &Plain::per_byte), best(expected, &Plain::per_token)};
        EXPECT_EQ(answer.picks, picks) << answer.question;
        for (size_t m = 0; m < kMetrics; ++m) right[m] += picks[m] == question.right[0] ? 1 : 0;
      }
    }
    ASSERT_EQ(at, result.answers.size());
    EXPECT_EQ(result.questions, static_cast<int64_t>(at));
    for (size_t m = 0; m < kMetrics; ++m)
      EXPECT_NEAR(result.accuracy[m].value, right[m] / static_cast<double>(at), 1e-12);
  }
}

TEST_F(Tasks, ErrorsArePooledOverSubjects) {
  const TaskResult result = run({.task = Task::kMmlu, .data = data("mmlu")});
  ASSERT_EQ(result.groups.size(), 3U);
  EXPECT_EQ(result.groups[0].questions, 7);
  // lm-evaluation-harness: each subject's variance, weighted with its degrees of freedom.
  double sum = 0, variance = 0;
  for (const TaskGroup& group : result.groups) {
    const auto n = static_cast<double>(group.questions);
    const auto& [p, error] = group.accuracy[kAcc];
    EXPECT_NEAR(error, std::sqrt(p * (1 - p) / (n - 1)), 1e-12);
    sum += p * n;
    variance += error * error * n * (n - 1);
  }
  EXPECT_NEAR(result.accuracy[kAcc].value, sum / 18, 1e-12);
  EXPECT_NEAR(result.accuracy[kAcc].error, std::sqrt(variance / 15 / 18), 1e-12);
  EXPECT_EQ(result.answers[7].question, "natural_philosophy/0");
  // One question of each subject leaves nothing to estimate an error from.
  const TaskResult few = run({.task = Task::kMmlu, .data = data("mmlu"), .limit = 1});
  EXPECT_EQ(few.questions, 3);
  EXPECT_EQ(few.accuracy[kAcc].error, 0);
}

TEST_F(Tasks, LongPromptsLoseTheirBeginning) {
  const TaskOptions options{.task = Task::kMmlu, .data = data("mmlu"), .shots = 4, .limit = 2};
  const TaskResult result = run(options);
  EXPECT_GT(result.truncated, 0);
  ThreadPool pool(2);
  const auto model = open_model(file("model"), pool);
  const Tokenizer tokenizer = model->tokenizer();
  const OutputHead head(model->config(), model->weights());
  const auto groups = read_questions(options);
  std::vector<int32_t> ids = tokenizer.encode(prompt_of(groups[0], 1, 4) + " C");
  ASSERT_GT(ids.size(), 129U);
  ids.erase(ids.begin(), ids.end() - 129);
  const int32_t last = ids.back();
  ids.pop_back();
  const Matrix<float> logits = head.logits(
      pool,
      forward_all(pool, model->config(), model->weights(), std::vector<std::vector<int32_t>>{ids}));
  const auto row = logits.row(127);
  EXPECT_NEAR(result.answers[1].log_likelihoods[2],
              static_cast<double>(row[static_cast<size_t>(last)]) - log_sum_exp(row), 1e-3);

  std::string words;
  for (int i = 0; i < 200; ++i) words += "word ";
  write_file(file("long.jsonl"),
             Json{{"query", "q"}, {"choices", {words, "b"}}, {"gold", 0}}.dump());
  const std::string error = error_of({.task = Task::kMultipleChoice, .data = file("long.jsonl")});
  EXPECT_EQ(error.find("question 0: expected a prompt, and choices of at most 128 tokens"), 0U)
      << error;
}

// White space that ends a prompt belongs to the choices; where there is no prompt BOS stands for
// it, whatever is asked for. Choices may begin alike, and one may be the beginning of another.
TEST_F(Tasks, BoundariesOfPromptAndChoice) {
  const std::string line =
      Json{{"query", "He sat down  "}, {"choices", {"by", "by", "by the"}}, {"gold", 1}}.dump();
  write_file(file("edges.jsonl"),
             line + "\n" + R"({"query": "", "choices": ["a", "b c"], "gold": 0})");
  ThreadPool pool(2);
  const auto model = open_model(file("model"), pool);
  const TaskOptions options{.task = Task::kMultipleChoice, .data = file("edges.jsonl")};
  const TaskResult result = run(options);
  const auto expected = plain_answers(pool, *model, "He sat down  ", {"by", "by", "by the"});
  for (size_t c = 0; c < 3; ++c)
    EXPECT_NEAR(result.answers[0].log_likelihoods[c], expected[c].log_likelihood, 1e-3);
  // Equal choices are equal, and the first is picked.
  EXPECT_EQ(result.answers[0].log_likelihoods[0], result.answers[0].log_likelihoods[1]);
  EXPECT_NE(result.answers[0].picks[kAcc], 1);
  EXPECT_GE(result.answers[0].picks[kAccTokens], 0);

  const auto bare = plain_answers(pool, *model, "", {"a", "b c"});
  TaskOptions without = options;
  without.bos = false;
  const TaskResult anyway = run(without);
  EXPECT_FALSE(anyway.bos);
  for (size_t c = 0; c < 2; ++c) {
    EXPECT_NEAR(result.answers[1].log_likelihoods[c], bare[c].log_likelihood, 1e-3);
    EXPECT_NEAR(anyway.answers[1].log_likelihoods[c], bare[c].log_likelihood, 1e-3);
  }
  EXPECT_NE(anyway.answers[0].log_likelihoods, result.answers[0].log_likelihoods);
}

TEST_F(Tasks, CompareWithAReference) {
  TaskOptions options{
      .task = Task::kMultipleChoice, .data = data("questions.jsonl"), .reference = file("model")};
  const TaskResult itself = run(options);
  EXPECT_TRUE(itself.has_reference);
  EXPECT_EQ(itself.reference_id, itself.model_id);
  for (size_t m = 0; m < kMetrics; ++m) {
    EXPECT_EQ(itself.agreement[m].value, 1);
    EXPECT_EQ(itself.reference_accuracy[m].value, itself.accuracy[m].value);
  }
  options.reference = file("other");
  const TaskResult result = run(options);
  const TaskResult alone =
      run_task(file("other"),
               {.task = Task::kMultipleChoice, .data = data("questions.jsonl"), .threads = 1});
  for (size_t m = 0; m < kMetrics; ++m) {
    EXPECT_EQ(result.reference_accuracy[m].value, alone.accuracy[m].value);
    double same = 0;
    for (size_t i = 0; i < alone.answers.size(); ++i) {
      EXPECT_EQ(result.answers[i].reference_picks[m], alone.answers[i].picks[m]);
      same += alone.answers[i].picks[m] == result.answers[i].picks[m] ? 1 : 0;
    }
    EXPECT_NEAR(result.agreement[m].value, same / 11, 1e-12);
  }
  const Json json = Json::parse(to_json(result));
  EXPECT_EQ(json["agreement"]["acc"], result.agreement[kAcc].value);
  EXPECT_EQ(json["reference_accuracy"]["acc_tokens"], result.reference_accuracy[kAccTokens].value);
  EXPECT_EQ(to_csv(result.answers, true)
                .rfind("question,right,acc,acc_norm,acc_bytes,acc_tokens,reference_acc,"
                       "reference_acc_norm,reference_acc_bytes,reference_acc_tokens,"
                       "log_likelihoods\n0,0,",
                       0),
            0U);
}

TEST_F(Tasks, AreWritten) {
  const TaskResult result = run({.task = Task::kMmlu, .data = data("mmlu"), .limit = 2});
  const Json json = Json::parse(to_json(result));
  EXPECT_EQ(json["schema"], "watersic.task/1");
  EXPECT_EQ(json["task"], "mmlu");
  EXPECT_EQ(json["questions"], 6);
  EXPECT_EQ(json["groups"].size(), 3U);
  EXPECT_EQ(json["groups"][1]["name"], "natural_philosophy");
  for (const char* field : {"acc", "acc_stderr", "acc_norm", "acc_bytes", "acc_tokens"})
    EXPECT_TRUE(json[field].is_number()) << field;
  for (const char* field : {"model_id", "prompts_hash", "shots", "bos", "truncated", "seconds"})
    EXPECT_TRUE(json.contains(field)) << field;
  EXPECT_FALSE(json.contains("agreement"));
  const Answer answer{.question = "a,\"b\"/1",
                      .right = {0, 2},
                      .picks = {1, 0, 3, 2},
                      .log_likelihoods = {-1.5, -2, -0.25, -3}};
  EXPECT_EQ(to_csv({answer}, false),
            "question,right,acc,acc_norm,acc_bytes,acc_tokens,log_likelihoods\n"
            "\"a,\"\"b\"\"/1\",0 2,1,0,3,2,-1.500000 -2.000000 -0.250000 -3.000000\n");
  // What was asked has a name; it is another with other examples.
  const TaskResult shot = run({.task = Task::kMmlu, .data = data("mmlu"), .shots = 1, .limit = 2});
  EXPECT_NE(shot.prompts_hash, result.prompts_hash);
  EXPECT_EQ(result.prompts_hash.size(), 16U);
}

TEST_F(Tasks, ErrorsNameWhatIsWrong) {
  EXPECT_NE(error_of({.task = Task::kHellaSwag, .data = file("absent")}).find("absent"),
            std::string::npos);
  write_file(file("blank.jsonl"), "{}\n");
  EXPECT_NE(error_of({.task = Task::kHellaSwag, .data = file("blank.jsonl")})
                .find("blank.jsonl: line 1: "),
            std::string::npos);
  write_file(file("blank.jsonl"), "    \n");
  EXPECT_NE(error_of({.task = Task::kMultipleChoice, .data = file("blank.jsonl")})
                .find("blank.jsonl: expected questions, found none"),
            std::string::npos);
  EXPECT_NE(error_of({.task = Task::kMultipleChoice, .data = data("arc.jsonl"), .shots = 4})
                .find("arc.jsonl: expected at least 4 examples for a question, found 3"),
            std::string::npos);
}

}  // namespace
}  // namespace watersic
