#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "watersic/evaluate.h"
#include "watersic/file.h"
#include "watersic/tasks.h"

namespace watersic::cli {
namespace {

struct EvalArguments {
  std::filesystem::path model, text, json, picks, reference;
  int threads = 0;
  WeightFormat weights = WeightFormat::kFloat32;
  bool quiet = false;
  EvaluateOptions text_options;
  TaskOptions task_options;
};

void print_statistics(const KlStatistics& s) {
  const auto line = [](const char* name, const Estimate& e) {
    fmt::print("{:<22} {:>11.6f} ± {:.6f}\n", name, e.value, e.error);
  };
  line("perplexity", s.perplexity);
  line("of the reference", s.reference_perplexity);
  line("their ratio", s.perplexity_ratio);
  line("ln of the ratio", s.ln_perplexity_ratio);
  line("their difference", s.perplexity_difference);
  fmt::print("{:<22} {:>10.2f}%\n\n", "correlation of ln p", 100 * s.correlation);

  fmt::print("{:<22} {:>11}            {:>11}\n", "", "KL, nats", "Δp, percent");
  fmt::print("{:<22} {:>11.6f} ± {:.6f} {:>10.3f} ± {:.3f}\n", "mean", s.kl.value, s.kl.error,
             100 * s.delta_p.value, 100 * s.delta_p.error);
  fmt::print("{:<22} {:>11} {:>21.3f} ± {:.3f}\n", "root mean square", "",
             100 * s.delta_p_rms.value, 100 * s.delta_p_rms.error);
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, double Percentiles::*>>{
           {"maximum", &Percentiles::maximum},
           {"99.9%", &Percentiles::p99_9},
           {"99%", &Percentiles::p99},
           {"95%", &Percentiles::p95},
           {"90%", &Percentiles::p90},
           {"75%", &Percentiles::p75},
           {"median", &Percentiles::median},
           {"25%", &Percentiles::p25},
           {"10%", &Percentiles::p10},
           {"5%", &Percentiles::p5},
           {"1%", &Percentiles::p1},
           {"0.1%", &Percentiles::p0_1},
           {"minimum", &Percentiles::minimum}}) {
    fmt::print("{:<22} {:>11.6f} {:>21.3f}\n", name, s.kl_percentiles.*value,
               100 * s.delta_p_percentiles.*value);
  }
}

void score_text(const EvalArguments& arguments) {
  const EvaluateResult r = evaluate(arguments.model, arguments.text, arguments.text_options,
                                    progress_printer(arguments.quiet));
  if (!arguments.json.empty()) write_file(arguments.json, to_json(r));
  fmt::print("perplexity     {:.4f} ({:.5f} nats a token, {:.4f} bits a byte)\n", r.perplexity,
             r.nll, r.bits_per_byte);
  fmt::print("scored         {} tokens in {} windows of {}, {} convention, text {}\n", r.tokens,
             r.windows, r.context, name_of(r.convention), r.text_hash);
  if (r.has_reference) {
    const Estimate& same = r.kl_statistics.same_top;
    fmt::print("reference      {}, perplexity {:.4f}\n", r.reference, r.reference_perplexity);
    fmt::print("KL divergence  {:.6f} bits a token\n", r.kl_bits);
    fmt::print("same top token {:.2f}% ± {:.2f}% of the time\n\n", 100 * same.value,
               100 * same.error);
    print_statistics(r.kl_statistics);
  }
}

void answer_questions(const EvalArguments& arguments) {
  const TaskResult r =
      run_task(arguments.model, arguments.task_options, progress_printer(arguments.quiet));
  if (!arguments.json.empty()) write_file(arguments.json, to_json(r));
  if (!arguments.picks.empty()) write_file(arguments.picks, to_csv(r.answers, r.has_reference));
  fmt::print("{}, {}-shot, {} questions, prompts {}\n", name_of(r.task), r.shots, r.questions,
             r.prompts_hash);
  if (r.truncated > 0)
    fmt::print("{} questions are longer than the model's context and lost their beginning\n",
               r.truncated);
  constexpr const char* kBy[kMetrics] = {"picked by log-likelihood", "by that a character",
                                         "by that a byte", "by that a token, as llama.cpp"};
  if (r.has_reference) fmt::print("{:<12}{:<18}{:<18}{}\n", "", "model", "reference", "same pick");
  for (int m = 0; m < kMetrics; ++m) {
    const auto percent = [m](const PerMetric<Estimate>& by) {
      const auto& [value, error] = by[static_cast<size_t>(m)];
      return fmt::format("{:.2f}% ± {:.2f}%", 100 * value, 100 * error);
    };
    fmt::print("{:<12}{:<18}", metric_name(m), percent(r.accuracy));
    if (r.has_reference)
      fmt::print("{:<18}{:<18}", percent(r.reference_accuracy), percent(r.agreement));
    fmt::print("{}\n", kBy[m]);
    if (r.task == Task::kMmlu) break;  // its answers are letters: one character, byte and token
  }
  for (const TaskGroup& group : r.groups) {
    if (group.name.empty()) continue;
    const auto& [value, error] = group.accuracy[kAcc];
    fmt::print("  {:<38}{:>5} questions  {:.2f}% ± {:.2f}%\n", group.name, group.questions,
               100 * value, 100 * error);
  }
}

void run_eval(EvalArguments& arguments) {
  if (arguments.text.empty() == arguments.task_options.data.empty())
    throw CLI::RequiredError("One of --text and --task");
  arguments.text_options.reference = arguments.task_options.reference = arguments.reference;
  arguments.text_options.weights = arguments.task_options.weights = arguments.weights;
  arguments.text_options.threads = arguments.task_options.threads = arguments.threads;
  if (!arguments.json.empty()) check_writable(arguments.json);
  if (!arguments.picks.empty()) check_writable(arguments.picks);
  if (arguments.text.empty()) {
    answer_questions(arguments);
  } else {
    score_text(arguments);
  }
}

void add_text_options(CLI::App& command, EvaluateOptions& options, CLI::Option* text) {
  add_choice(command, "--convention", options.convention,
             "hf (default): all of each window is scored, as by GPTQ and the papers; "
             "llama.cpp: its second "
             "half, as by llama-perplexity")
      ->needs(text);
  command
      .add_option("--context", options.context,
                  "Tokens in a window (default 2048, llama.cpp 512; at most the model's)")
      ->needs(text)
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("T");
  command
      .add_flag("--wikitext", options.wikitext,
                "The text is wiki.test.raw: score what the papers score, rows joined by blank "
                "lines")
      ->needs(text);
}

void add_task_options(CLI::App& command, EvalArguments& arguments, CLI::Option* text) {
  TaskOptions& options = arguments.task_options;
  CLI::Option* task =
      add_choice(command, "--task", options.task, "Answer a benchmark's questions")->excludes(text);
  CLI::Option* data =
      command
          .add_option("--data", options.data,
                      "hellaswag: hellaswag_val.jsonl, or llama.cpp's six lines a task; mmlu: the "
                      "folder with dev/ and test/; multiple-choice: JSON lines as of ARC, PIQA or "
                      "your own, or llama.cpp's binary file")
          ->needs(task)
          ->type_name("PATH");
  task->needs(data);
  CLI::Option* shots = command
                           .add_option("--shots", options.shots,
                                       "Answered examples before each question (default 0)")
                           ->needs(task)
                           ->check(CLI::Range(0, 1000))
                           ->type_name("N");
  command
      .add_option("--examples", options.examples,
                  "Where those come from, the first ones in it (default: mmlu's dev/, else PATH "
                  "without the question itself)")
      ->needs(shots)
      ->type_name("PATH");
  command
      .add_option("--limit", options.limit,
                  "The first N questions only, of mmlu's those of each subject")
      ->needs(task)
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("N");
  command.add_flag("!--no-bos", options.bos, "Begin prompts without the tokenizer's BOS")
      ->needs(task);
  command
      .add_option("--picks", arguments.picks,
                  "Write what was picked, question by question, to this file")
      ->needs(task)
      ->type_name("OUT.csv");
}

}  // namespace

void add_eval(CLI::App& program) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = program.add_subcommand(
      "eval",
      "Score a text or a benchmark: perplexity, KL divergence, accuracy\n\n"
      "  watersic eval model.wsic --text book.txt --reference MODEL_DIR\n"
      "  watersic eval model.wsic --task hellaswag --data hellaswag_val.jsonl\n"
      "  watersic eval model.wsic --task mmlu --data mmlu/data --shots 5\n\n"
      "Perplexities compare only if text, context and convention are the same, so all three are\n"
      "printed. With a reference both models score the text, and their distributions are compared\n"
      "at every scored token. docs/conventions.md says exactly what each number means.");
  command
      ->add_option("MODEL", arguments->model,
                   "A checkpoint (a folder or a GGUF file) or a .wsic file")
      ->required();
  CLI::Option* text = command->add_option("--text,-t", arguments->text, "Score this text, UTF-8")
                          ->type_name("FILE");
  add_text_options(*command, arguments->text_options, text);
  add_task_options(*command, *arguments, text);
  command
      ->add_option("--reference", arguments->reference,
                   "Compare with this model (a folder or a file), token by token or pick by pick")
      ->type_name("MODEL");
  add_weights(*command, arguments->weights);
  add_threads(*command, arguments->threads);
  command->add_option("--json", arguments->json, "Write the figures to this file")
      ->type_name("OUT.json");
  command->add_flag("--quiet,-q", arguments->quiet, "No progress");
  command->callback([arguments] { run_eval(*arguments); });
}

}  // namespace watersic::cli
