#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "api/model_impl.h"
#include "base/memory.h"
#include "checkpoint/open_checkpoint.h"
#include "engine/engine.h"
#include "engine/vector_operators.h"
#include "io/json.h"
#include "runtime/load_network.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr int64_t kDefaultTokens = 256;

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

}  // namespace

Model::Impl::Impl(const std::filesystem::path& path, const OpenOptions& options)
    : machine(physical_memory()),
      pool(options.threads),
      format(options.weights),
      opened(open_model(path, pool)) {}

const Tokenizer& Model::Impl::tokenizer() const {
  const std::lock_guard lock(mutex_);
  if (!tokenizer_) tokenizer_ = opened->tokenizer();
  return *tokenizer_;
}

const ChatTemplate& Model::Impl::chat() const {
  const std::lock_guard lock(mutex_);
  if (!chat_) {
    const auto text = [&](const char* file) { return opened->text(file).value_or(""); };
    chat_ = ChatTemplate::find({.config = text("tokenizer_config.json"),
                                .special_tokens_map = text("special_tokens_map.json"),
                                .jinja = text("chat_template.jinja")},
                               opened->name());
  }
  if (!chat_) {
    throw Error(
        fmt::format("{}: expected a chat template (chat_template.jinja, or chat_template in "
                    "tokenizer_config.json), found none; is it a model for conversations?",
                    opened->name()));
  }
  return *chat_;
}

Model::Impl::ChatPrompt Model::Impl::chat_prompt(std::span<const ChatMessage> messages) const {
  const std::time_t now = std::time(nullptr);
  ChatPrompt prompt{.ids = tokenizer().encode(chat().render(messages, true, now), false),
                    .ends = {}};
  if (const auto end = end_of_turn(chat(), tokenizer(), {messages.begin(), messages.end()}, now))
    prompt.ends.insert(*end);
  return prompt;
}

SamplerOptions Model::Impl::sampler(const Sampling& sampling) const {
  SamplerOptions sampler;
  if (const auto text = opened->text("generation_config.json")) {
    const std::string name = opened->name() + ": generation_config.json";
    const Json json = parse_json(*text, name);
    const JsonFields fields(json, name);
    sampler.temperature = fields.number("temperature", sampler.temperature);
    sampler.top_k = fields.integer("top_k", sampler.top_k);
    sampler.top_p = fields.number("top_p", sampler.top_p);
    sampler.min_p = fields.number("min_p", sampler.min_p);
  }
  sampler = {.temperature = sampling.temperature.value_or(sampler.temperature),
             .top_k = sampling.top_k.value_or(sampler.top_k),
             .top_p = sampling.top_p.value_or(sampler.top_p),
             .min_p = sampling.min_p.value_or(sampler.min_p)};
  check_sampler(sampler);
  return sampler;
}

MemoryUse Model::Impl::memory(int64_t context, CacheType cache, int64_t texts) const {
  const std::lock_guard lock(mutex_);
  return {.weights = network_ ? network_->weight_bytes() : network_bytes(*opened, format),
          .cache = texts * Cache::bytes_for(config(), cache, context),
          .scratch = Engine::scratch_bytes(config(), pool.threads(), context, context),
          .machine = machine};
}

int64_t Model::Impl::token_limit(int64_t context, size_t prompt, int64_t wanted) const {
  const int64_t left = context - static_cast<int64_t>(prompt);
  const char* whose = context < config().max_positions ? "session" : "model";
  if (left < 1) {
    throw Error(
        fmt::format("{}: expected a prompt of less than {} tokens, the {}'s context, found {}",
                    opened->name(), context, whose, prompt));
  }
  if (wanted > left) {
    throw Error(
        fmt::format("{}: the {}'s context of {} tokens has room for {} behind the prompt of {}, "
                    "expected {}",
                    opened->name(), whose, context, left, prompt, wanted));
  }
  return wanted > 0 ? wanted : std::min(kDefaultTokens, left);
}

int64_t Model::Impl::fitting_context(const SessionOptions& options, int64_t texts) const {
  const int64_t most = config().max_positions;
  if (options.context > most) {
    throw Error(
        fmt::format("{}: expected a session of at most {} tokens, the model's context, "
                    "found {}",
                    opened->name(), most, options.context));
  }
  if (options.context > 0) return options.context;
  constexpr int64_t kLeast = 512;  // less is of no use; it is refused where not even this fits
  int64_t context = most;
  while (context > kLeast) {
    const MemoryUse use = memory(context, options.cache, texts);
    if (use.machine == 0 || use.total() <= use.machine) break;
    context = std::max(kLeast, context / 2);
  }
  return context;
}

const Network& Model::Impl::load(int64_t context, CacheType cache, const ProgressFn& progress,
                                 int64_t texts) {
  const MemoryUse use = memory(context, cache, texts);
  const std::string held = texts == 1 ? fmt::format("{} tokens", context)
                                      : fmt::format("{} texts of {} tokens", texts, context);
  const auto gib = [](int64_t bytes) { return static_cast<double>(bytes) / (int64_t{1} << 30); };
  if (use.machine > 0 && use.total() > use.machine) {
    throw Error(fmt::format(
        "{}: expected at most {:.1f} GiB of memory, which is what the machine has, found {:.1f} "
        "GiB: weights {:.1f}, keys and values of {} {:.1f}, activations {:.1f}",
        opened->name(), gib(use.machine), gib(use.total()), gib(use.weights), held, gib(use.cache),
        gib(use.scratch)));
  }
  const Context told(pool, progress);
  tell(opened->note(), progress);
  told.tell("loading", "blocks", 0, 0,
            fmt::format("memory: weights {:.3f} GiB, keys and values of {} {:.3f} GiB, "
                        "activations {:.3f} GiB",
                        gib(use.weights), held, gib(use.cache), gib(use.scratch)));
  const std::lock_guard lock(mutex_);
  if (!network_) {
    network_ = load_network(told, *opened, format);
    network_->use(vector_operators());
  }
  return *network_;
}

Model::Model(const std::filesystem::path& path, const OpenOptions& options)
    : impl_(std::make_shared<Impl>(path, options)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

ModelInfo Model::info() const {
  const ModelConfig& config = impl_->config();
  return {.name = impl_->opened->name(),
          .architecture = config.architecture,
          .context = config.max_positions,
          .vocabulary = config.vocabulary,
          .weight_bytes = impl_->memory(1, CacheType::kFloat16).weights,
          .first_token = config.first_token(),
          .ends = config.eos};
}

std::string Model::model_id() const { return impl_->opened->model_id(); }

std::vector<int32_t> Model::tokenize(const std::string& text, bool special) const {
  return impl_->tokenizer().encode(text, special);
}

std::string Model::detokenize(std::span<const int32_t> ids) const {
  return impl_->tokenizer().decode(ids);
}

std::vector<int32_t> Model::chat_tokens(const std::string& said, const std::string& system) const {
  std::vector<ChatMessage> messages;
  if (!system.empty()) messages.push_back({"system", system});
  messages.push_back({"user", said});
  return chat_tokens(messages);
}

std::vector<int32_t> Model::chat_tokens(std::span<const ChatMessage> messages) const {
  return impl_->chat_prompt(messages).ids;
}

std::string Model::chat_text(std::span<const ChatMessage> messages, bool open) const {
  return impl_->chat().render(messages, open, std::time(nullptr));
}

MemoryUse Model::memory(const SessionOptions& options) const {
  return impl_->memory(impl_->fitting_context(options), options.cache);
}

}  // namespace watersic
