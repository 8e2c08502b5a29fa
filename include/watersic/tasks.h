// Multiple-choice benchmarks: which answer a model finds most likely, and how often it is right.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "watersic/evaluate.h"
#include "watersic/names.h"
#include "watersic/progress.h"

namespace watersic {

// docs/conventions.md says which files each reads and what the model is shown.
enum class Task { kHellaSwag, kMmlu, kMultipleChoice };
template <>
inline constexpr std::array names_of<Task>{"hellaswag", "mmlu", "multiple-choice"};

// By what the log-likelihood of an answer is divided before the largest is picked.
enum Metric {
  kAcc,        // nothing
  kAccNorm,    // its characters
  kAccBytes,   // its bytes
  kAccTokens,  // its tokens, from the first that the question's answers do not share: llama.cpp's
  kMetrics
};
const char* metric_name(int metric);  // "acc", "acc_norm", "acc_bytes", "acc_tokens"
template <class T>
using PerMetric = std::array<T, kMetrics>;

struct TaskOptions {
  Task task = Task::kMultipleChoice;
  std::filesystem::path data;      // a file; for MMLU the folder that holds dev/ and test/
  int64_t shots = 0;               // answered examples before each question
  std::filesystem::path examples;  // where those come from; empty: MMLU's dev/, else `data`
  int64_t limit = 0;               // the first so many questions only, of each subject; 0 for all
  bool bos = true;                 // put BOS first where the tokenizer does
  WeightFormat weights = WeightFormat::kFloat32;  // of the model; a reference is float32
  std::filesystem::path reference;                // a second model that answers too; empty for none
  int threads = 0;
};

struct Answer {
  std::string question;        // its place in the data, from 0: "17", "anatomy/17"
  std::vector<int64_t> right;  // usually one
  PerMetric<int64_t> picks{}, reference_picks{};
  std::vector<double> log_likelihoods;  // of each choice given the prompt, nats
};

// A subject of MMLU; other tasks have one group, without a name.
struct TaskGroup {
  std::string name;
  int64_t questions = 0;
  PerMetric<Estimate> accuracy{};
};

struct TaskResult {
  Task task = Task::kMultipleChoice;
  std::string model, model_id, reference, reference_id;
  WeightFormat weights = WeightFormat::kFloat32;
  std::string data;
  std::string prompts_hash;  // XXH3-64 of all that the model was asked, in hex
  int64_t shots = 0;
  bool bos = false;  // whether sequences began with BOS
  int64_t questions = 0;
  int64_t truncated = 0;  // questions that lost their beginning: longer than the context
  PerMetric<Estimate> accuracy{};
  bool has_reference = false;
  PerMetric<Estimate> reference_accuracy{};
  PerMetric<Estimate> agreement{};  // share of questions where both models pick the same
  std::vector<TaskGroup> groups;
  std::vector<Answer> answers;
  double seconds = 0;
};

// `model`: a checkpoint (a folder or a GGUF file) or a .wsic file.
TaskResult run_task(const std::filesystem::path& model, const TaskOptions& options,
                    const ProgressFn& progress = {});

std::string to_json(const TaskResult& result);  // all but the answers
// The answers, one a line, to be compared with another program's.
std::string to_csv(const std::vector<Answer>& answers, bool has_reference);

}  // namespace watersic
