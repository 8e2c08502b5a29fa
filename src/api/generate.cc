#include "watersic/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <set>

#include "base/memory.h"
#include "base/rng.h"
#include "chat/chat_template.h"
#include "engine/decoder.h"
#include "engine/sampler.h"
#include "io/json.h"
#include "io/text.h"
#include "runtime/open_model.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr int64_t kDefaultTokens = 256;

class Clock {
 public:
  // Since the last call.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// What is said to the model, and what ends its answer.
struct Prompt {
  std::vector<int32_t> ids;
  std::set<int32_t> ends;
};

// The special token that the template puts behind an answer: of a conversation that has one, what
// stands behind it.
std::optional<int32_t> end_of_turn(const ChatTemplate& chat, const Tokenizer& tokenizer,
                                   std::vector<ChatMessage> messages, std::time_t now) {
  const std::string answer = "the answer";
  messages.push_back({"assistant", answer});
  std::string text;
  try {
    text = chat.render(messages, false, now);
  } catch (const Error&) {
    return {};  // a template that knows no answers
  }
  const size_t found = text.rfind(answer);
  if (found == std::string::npos) return {};
  text.erase(0, found + answer.size());
  text.erase(0, text.find_first_not_of(" \n"));
  const auto ids = tokenizer.encode(text, false);
  if (ids.empty() || !tokenizer.token_bytes(ids[0]).empty()) return {};
  return ids[0];
}

Prompt chat_prompt(const OpenModel& model, const Tokenizer& tokenizer, const std::string& text,
                   const GenerateOptions& options) {
  const auto chat =
      ChatTemplate::find({.config = model.text("tokenizer_config.json").value_or(""),
                          .special_tokens_map = model.text("special_tokens_map.json").value_or(""),
                          .jinja = model.text("chat_template.jinja").value_or("")},
                         model.name());
  if (!chat) {
    throw Error(
        fmt::format("{}: expected a chat template (chat_template.jinja, or chat_template in "
                    "tokenizer_config.json), found none; is it a model for conversations?",
                    model.name()));
  }
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  messages.push_back({"user", text});
  const std::time_t now = std::time(nullptr);
  Prompt prompt{.ids = tokenizer.encode(chat->render(messages, true, now), false), .ends = {}};
  if (const auto end = end_of_turn(*chat, tokenizer, messages, now)) prompt.ends.insert(*end);
  return prompt;
}

Prompt prompt_for(const OpenModel& model, const Tokenizer& tokenizer, const std::string& text,
                  const GenerateOptions& options) {
  if (!options.system.empty() && !options.chat)
    throw Error("a system message has a meaning in a chat only");
  Prompt prompt = options.chat ? chat_prompt(model, tokenizer, text, options)
                               : Prompt{.ids = tokenizer.encode(text), .ends = {}};
  const ModelConfig& config = model.config();
  prompt.ends.insert(config.eos.begin(), config.eos.end());
  if (const auto eos = tokenizer.eos_id()) prompt.ends.insert(*eos);
  if (prompt.ids.empty()) {
    const auto first = config.first_token();
    if (!first)
      throw Error(
          fmt::format("{}: expected a prompt: the model has no token to begin with", model.name()));
    prompt.ids.push_back(*first);
  }
  return prompt;
}

SamplerOptions sampler_for(const OpenModel& model, const GenerateOptions& options) {
  SamplerOptions sampler;
  if (const auto text = model.text("generation_config.json")) {
    const std::string name = model.name() + ": generation_config.json";
    const Json json = parse_json(*text, name);
    const JsonFields fields(json, name);
    sampler.temperature = fields.number("temperature", sampler.temperature);
    sampler.top_k = fields.integer("top_k", sampler.top_k);
    sampler.top_p = fields.number("top_p", sampler.top_p);
    sampler.min_p = fields.number("min_p", sampler.min_p);
  }
  sampler = {.temperature = options.temperature.value_or(sampler.temperature),
             .top_k = options.top_k.value_or(sampler.top_k),
             .top_p = options.top_p.value_or(sampler.top_p),
             .min_p = options.min_p.value_or(sampler.min_p)};
  check_sampler(sampler);
  return sampler;
}

// How many tokens may follow.
int64_t token_limit(const OpenModel& model, size_t prompt, const GenerateOptions& options) {
  const int64_t context = model.config().max_positions;
  const int64_t left = context - static_cast<int64_t>(prompt);
  if (left < 1) {
    throw Error(
        fmt::format("{}: expected a prompt of less than {} tokens, the model's context, "
                    "found {}",
                    model.name(), context, prompt));
  }
  if (options.tokens > left) {
    throw Error(
        fmt::format("{}: the model's context of {} tokens has room for {} behind the "
                    "prompt of {}, expected {}",
                    model.name(), context, left, prompt, options.tokens));
  }
  return options.tokens > 0 ? options.tokens : std::min(kDefaultTokens, left);
}

// What the memory leaves for the blocks' weights, once the keys and values of `tokens` tokens and
// the output head are there.
int64_t weight_budget(const OpenModel& model, int64_t tokens) {
  const int64_t memory = physical_memory();
  if (memory == 0) return std::numeric_limits<int64_t>::max();
  const ModelConfig& config = model.config();
  constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
  const double cache = 2.0 * sizeof(float) * static_cast<double>(tokens) *
                       static_cast<double>(config.blocks) * static_cast<double>(config.kv_size());
  const double head = static_cast<double>(sizeof(float)) * static_cast<double>(config.vocabulary) *
                      static_cast<double>(config.hidden);
  const double left = 0.8 * static_cast<double>(memory) - cache - head;
  if (left < 0) {
    throw Error(fmt::format(
        "{}: {} tokens need {:.1f} GiB of memory for keys and values and {:.1f} "
        "GiB for the output head, the machine has {:.1f} GiB",
        model.name(), tokens, cache / kGib, head / kGib, static_cast<double>(memory) / kGib));
  }
  return static_cast<int64_t>(left);
}

}  // namespace

GenerateResult generate(const std::filesystem::path& path, const std::string& text,
                        const GenerateOptions& options, const TextFn& on_text,
                        const ProgressFn& progress) {
  Clock clock;
  ThreadPool pool(options.threads);
  const auto model = open_model(path, pool);
  const Tokenizer tokenizer = model->tokenizer();
  const SamplerOptions sampler = sampler_for(*model, options);
  const Prompt prompt = prompt_for(*model, tokenizer, text, options);
  GenerateResult result{.prompt = prompt.ids};
  const int64_t limit = token_limit(*model, prompt.ids.size(), options);
  const int64_t capacity = static_cast<int64_t>(prompt.ids.size()) + limit;
  Decoder decoder(pool, model->config(), model->weights(), 1, capacity,
                  weight_budget(*model, capacity), progress);
  result.load_seconds = clock.lap();

  Matrix<float> logits = decoder.append(prompt.ids);
  result.prompt_seconds = clock.lap();
  Rng rng(options.seed);
  Utf8Stream stream;
  bool wanted = true;
  const auto give = [&](const std::string& piece) {
    result.text += piece;
    if (on_text && !piece.empty()) wanted = on_text(piece);
  };
  while (wanted && static_cast<int64_t>(result.ids.size()) < limit) {
    const int32_t id = choose_token(logits.row(0), sampler, rng.uniform());
    if (prompt.ends.contains(id)) {
      result.ended = true;
      break;
    }
    result.ids.push_back(id);
    give(stream.push(tokenizer.token_bytes(id)));
    if (wanted && static_cast<int64_t>(result.ids.size()) < limit) logits = decoder.step({&id, 1});
  }
  if (wanted) give(stream.finish());
  result.seconds = clock.lap();
  return result;
}

}  // namespace watersic
