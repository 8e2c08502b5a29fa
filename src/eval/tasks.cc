#include "watersic/tasks.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "eval/kl_statistics.h"
#include "eval/python_text.h"
#include "eval/questions.h"
#include "eval/token_tree.h"
#include "io/json.h"
#include "runtime/load_network.h"
#include "runtime/open_model.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// A question as the model sees it.
struct Asked {
  std::string name;
  const Question* question = nullptr;
  std::string prompt;                     // with description and examples
  std::vector<ScoredSequence> sequences;  // of each choice
  // Of each sequence's scored tokens: where the choice begins, and where the first token is that
  // not all choices have.
  std::vector<size_t> choice, different;
  bool truncated = false;
};

class Encoder {
 public:
  Encoder(const OpenModel& model, bool bos)
      : config_(model.config()),
        tokenizer_(model.tokenizer()),
        bos_(bos && tokenizer_.adds_bos() ? tokenizer_.bos_id() : std::nullopt) {}

  bool begins_with_bos() const { return bos_.has_value(); }

  // As lm-evaluation-harness encodes a pair: prompt and choice together, cut where the prompt alone
  // would end. White space that ends the prompt counts as the choice's.
  void encode(Asked& asked) const {
    std::vector<int32_t> prompt = tokenizer_.encode(strip_end(asked.prompt), false);
    // Without a prompt the choices need one token to follow, whatever the tokenizer does.
    const auto before = prompt.empty() && !bos_ ? config_.first_token() : bos_;
    if (before) prompt.insert(prompt.begin(), *before);
    std::vector<std::vector<int32_t>> wholes;
    for (const std::string& choice : asked.question->choices) {
      wholes.push_back(tokenizer_.encode(asked.prompt + " " + choice, false));
      if (before) wholes.back().insert(wholes.back().begin(), *before);
    }
    // Something is left of each choice, even where it is the beginning of another.
    size_t shortest = wholes[0].size(), common = 0;
    for (const auto& whole : wholes) shortest = std::min(shortest, whole.size());
    while (common + 1 < shortest && std::ranges::all_of(wholes, [&](const auto& whole) {
             return whole[common] == wholes[0][common];
           }))
      ++common;

    // The model sees at most so many tokens, and predicts one more.
    const auto most = static_cast<size_t>(config_.max_positions) + 1;
    for (std::vector<int32_t>& whole : wholes) {
      const size_t begin = std::min(prompt.size(), whole.size() - 1);
      const size_t first = std::max<size_t>(1, std::min(begin, common));
      const size_t cut = whole.size() > most ? whole.size() - most : 0;
      if (whole.size() < 2 || cut >= first) {
        throw Error(
            fmt::format("question {}: expected a prompt, and choices of at most {} tokens, "
                        "found {} tokens with {} of a choice",
                        asked.name, config_.max_positions, whole.size(), whole.size() - first));
      }
      asked.truncated = asked.truncated || cut > 0;
      asked.choice.push_back(std::max<size_t>(begin, 1) - first);
      asked.different.push_back(std::max<size_t>(common, 1) - first);
      whole.erase(whole.begin(), whole.begin() + static_cast<int64_t>(cut));
      asked.sequences.push_back({.tokens = std::move(whole), .first = first - cut});
    }
  }

 private:
  const ModelConfig& config_;
  Tokenizer tokenizer_;
  std::optional<int32_t> bos_;
};

struct Answers {
  std::vector<PerMetric<int64_t>> picks;
  std::vector<std::vector<double>> log_likelihoods;
  bool bos = false;
  int64_t truncated = 0;
};

// Picks the largest, the first of equal ones.
int64_t largest(const std::vector<double>& values) {
  return std::ranges::max_element(values) - values.begin();
}

Answers answers_of(const Context& context, const OpenModel& model, WeightFormat format,
                   std::vector<Asked> all, bool bos) {
  const Encoder encoder(model, bos);
  context.pool().parallel_for(static_cast<int64_t>(all.size()),
                              [&](int64_t i) { encoder.encode(all[static_cast<size_t>(i)]); });
  std::vector<ScoredSequence> sequences;
  for (Asked& asked : all) std::ranges::move(asked.sequences, std::back_inserter(sequences));
  const auto scores = score_sequences(context, *forward_model(context, model, format), sequences);

  Answers answers{.bos = encoder.begins_with_bos()};
  size_t at = 0;
  for (const Asked& asked : all) {
    const size_t count = asked.question->choices.size();
    PerMetric<std::vector<double>> values;
    for (size_t c = 0; c < count; ++c, ++at) {
      const std::string& choice = asked.question->choices[c];
      const auto sum_from = [&](size_t from) {
        double sum = 0;
        for (size_t t = from; t < scores[at].size(); ++t) sum += scores[at][t].log_probability;
        return sum;
      };
      const double likelihood = sum_from(asked.choice[c]);
      values[kAcc].push_back(likelihood);
      values[kAccNorm].push_back(likelihood / static_cast<double>(length(choice)));
      values[kAccBytes].push_back(likelihood / static_cast<double>(choice.size()));
      values[kAccTokens].push_back(sum_from(asked.different[c]) /
                                   static_cast<double>(scores[at].size() - asked.different[c]));
    }
    auto& picks = answers.picks.emplace_back();
    for (size_t m = 0; m < kMetrics; ++m) picks[m] = largest(values[m]);
    answers.log_likelihoods.push_back(std::move(values[kAcc]));
    answers.truncated += asked.truncated ? 1 : 0;
  }
  return answers;
}

// Mean over all questions, and its error as lm-evaluation-harness pools it over subjects: from the
// variance inside each.
Estimate pooled(const std::vector<std::vector<double>>& groups) {
  double sum = 0, count = 0, squares = 0, freedom = 0;
  for (const std::vector<double>& values : groups) {
    const auto n = static_cast<double>(values.size());
    const Estimate mean = mean_of(values);
    sum += mean.value * n;
    count += n;
    squares += mean.error * mean.error * n * (n - 1);
    freedom += n - 1;
  }
  return {.value = sum / count, .error = freedom > 0 ? std::sqrt(squares / freedom / count) : 0};
}

Json accuracies(const PerMetric<Estimate>& accuracy) {
  Json json;
  for (int m = 0; m < kMetrics; ++m) {
    const auto& [value, error] = accuracy[static_cast<size_t>(m)];
    json[metric_name(m)] = value;
    json[std::string(metric_name(m)) + "_stderr"] = error;
  }
  return json;
}

// A field of a CSV file.
std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return '"' + replace_all(text, "\"", "\"\"") + '"';
}

}  // namespace

const char* metric_name(int metric) {
  static constexpr const char* kNames[kMetrics] = {"acc", "acc_norm", "acc_bytes", "acc_tokens"};
  return kNames[metric];
}

TaskResult run_task(const std::filesystem::path& model_path, const TaskOptions& options,
                    const ProgressFn& progress) {
  const auto start = std::chrono::steady_clock::now();
  if (options.shots < 0 || options.limit < 0) throw Error("expected shots and limit of at least 0");
  ThreadPool pool(options.threads);
  const std::vector<QuestionGroup> groups = read_questions(options);
  const Context context(pool, progress);
  const auto model = open_model(model_path, context);
  const auto reference =
      options.reference.empty() ? nullptr : open_model(options.reference, context);

  TaskResult result{.task = options.task,
                    .model = model_path.string(),
                    .model_id = model->model_id(),
                    .weights = options.weights,
                    .data = options.data.string(),
                    .shots = options.shots};
  std::vector<Asked> all;
  std::string text;
  for (const QuestionGroup& group : groups) {
    for (size_t i = 0; i < group.questions.size(); ++i) {
      Asked asked{.name = fmt::format("{}{}{}", group.name, group.name.empty() ? "" : "/", i),
                  .question = &group.questions[i],
                  .prompt = prompt_of(group, i, options.shots)};
      text += asked.prompt;
      for (const std::string& choice : asked.question->choices) text += '\0' + choice;
      text += '\n';
      all.push_back(std::move(asked));
    }
  }
  result.prompts_hash = hex_hash(text);
  result.questions = static_cast<int64_t>(all.size());

  Answers answers = answers_of(context.as("model"), *model, options.weights, all, options.bos),
          others;
  result.bos = answers.bos;
  result.truncated = answers.truncated;
  if (reference) {
    result.has_reference = true;
    result.reference = options.reference.string();
    result.reference_id = reference->model_id();
    others =
        answers_of(context.as("reference"), *reference, WeightFormat::kFloat32, all, options.bos);
  }

  // Right or wrong, and agreeing or not, by metric, group and question.
  using ByGroup = std::vector<std::vector<double>>;
  PerMetric<ByGroup> right, reference_right, same;
  size_t at = 0;
  for (const QuestionGroup& group : groups) {
    for (size_t m = 0; m < kMetrics; ++m)
      for (ByGroup* values : {&right[m], &reference_right[m], &same[m]}) values->emplace_back();
    for (size_t i = 0; i < group.questions.size(); ++i, ++at) {
      Answer answer{.question = all[at].name,
                    .right = group.questions[i].right,
                    .picks = answers.picks[at],
                    .log_likelihoods = std::move(answers.log_likelihoods[at])};
      if (reference) answer.reference_picks = others.picks[at];
      const auto is_right = [&](int64_t pick) {
        return std::ranges::count(answer.right, pick) > 0 ? 1.0 : 0.0;
      };
      for (size_t m = 0; m < kMetrics; ++m) {
        right[m].back().push_back(is_right(answer.picks[m]));
        reference_right[m].back().push_back(is_right(answer.reference_picks[m]));
        same[m].back().push_back(answer.picks[m] == answer.reference_picks[m] ? 1 : 0);
      }
      result.answers.push_back(std::move(answer));
    }
    TaskGroup summary{.name = group.name,
                      .questions = static_cast<int64_t>(group.questions.size())};
    for (size_t m = 0; m < kMetrics; ++m) summary.accuracy[m] = mean_of(right[m].back());
    result.groups.push_back(std::move(summary));
  }
  for (size_t m = 0; m < kMetrics; ++m) {
    result.accuracy[m] = pooled(right[m]);
    if (!reference) continue;
    result.reference_accuracy[m] = pooled(reference_right[m]);
    result.agreement[m] = pooled(same[m]);
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::string to_json(const TaskResult& r) {
  Json json = {
      {"schema", "watersic.task/1"},    {"task", name_of(r.task)},  {"model", r.model},
      {"weights", name_of(r.weights)},  {"model_id", r.model_id},   {"data", r.data},
      {"prompts_hash", r.prompts_hash}, {"shots", r.shots},         {"bos", r.bos},
      {"questions", r.questions},       {"truncated", r.truncated}, {"seconds", r.seconds},
  };
  json.update(accuracies(r.accuracy));
  if (r.groups.size() > 1) {
    for (const TaskGroup& group : r.groups) {
      Json entry = accuracies(group.accuracy);
      entry["name"] = group.name;
      entry["questions"] = group.questions;
      json["groups"].push_back(std::move(entry));
    }
  }
  if (r.has_reference) {
    json["reference"] = r.reference;
    json["reference_id"] = r.reference_id;
    json["reference_accuracy"] = accuracies(r.reference_accuracy);
    json["agreement"] = accuracies(r.agreement);
  }
  return json.dump(2) + "\n";
}

std::string to_csv(const std::vector<Answer>& answers, bool has_reference) {
  std::string csv = "question,right";
  for (const char* whose : {"", "reference_"}) {
    if (*whose != '\0' && !has_reference) break;
    for (int m = 0; m < kMetrics; ++m) csv += fmt::format(",{}{}", whose, metric_name(m));
  }
  csv += ",log_likelihoods\n";
  for (const Answer& answer : answers) {
    csv += fmt::format("{},{}", quoted(answer.question), fmt::join(answer.right, " "));
    csv += fmt::format(",{}", fmt::join(answer.picks, ","));
    if (has_reference) csv += fmt::format(",{}", fmt::join(answer.reference_picks, ","));
    csv += fmt::format(",{:.6f}\n", fmt::join(answer.log_likelihoods, " "));
  }
  return csv;
}

}  // namespace watersic
