#include "watersic/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/model_impl.h"
#include "engine/generation.h"
#include "io/text.h"
#include "watersic/error.h"

namespace watersic {

struct Session::Impl {
  Impl(std::shared_ptr<Model::Impl> of, const SessionOptions& asked, const ProgressFn& progress)
      : model(std::move(of)),
        options(asked),
        sampler(model->sampler(asked.sampling)),
        context(model->fitting_context(asked)),
        engine(model->pool, model->load(context, asked.cache, progress)),
        sequence(model->config(), asked.cache, context),
        rng(asked.sampling.seed) {}

  GenerateResult run(int64_t wanted, std::set<int32_t> ends, const TextFn& on_text);
  // Replaces all tokens; what both begin with stays in the cache.
  void retell(std::vector<int32_t> ids);

  std::shared_ptr<Model::Impl> model;
  SessionOptions options;
  SamplerOptions sampler;
  int64_t context;
  Engine engine;
  Sequence sequence;
  Rng rng;
  std::vector<int32_t> tokens;  // the first sequence.position() of them are in the cache
  std::vector<ChatMessage> messages;
};

GenerateResult Session::Impl::run(int64_t wanted, std::set<int32_t> ends, const TextFn& on_text) {
  const Tokenizer& tokenizer = model->tokenizer();
  const ModelConfig& config = model->config();
  ends.insert(config.eos.begin(), config.eos.end());
  if (const auto eos = tokenizer.eos_id()) ends.insert(*eos);
  if (tokens.empty()) {
    const auto first = config.first_token();
    if (!first)
      throw Error(fmt::format("{}: expected a prompt: the model has no token to begin with",
                              model->opened->name()));
    tokens.push_back(*first);
  }
  const int64_t limit = model->token_limit(context, tokens.size(), wanted);
  GenerateResult result{.prompt = tokens};
  // The logits behind the last token are not kept, so it is read again where nothing is new.
  const auto known =
      std::min<int64_t>(sequence.position(), static_cast<int64_t>(tokens.size()) - 1);
  sequence.rewind(known);
  Utf8Stream stream;
  bool wants_more = true;
  const auto give = [&](const std::string& piece) {
    result.text += piece;
    if (on_text && !piece.empty()) wants_more = on_text(piece);
  };
  const Generation generation = generate_tokens(
      engine, sequence, std::span(result.prompt).subspan(static_cast<size_t>(known)),
      {.sampler = sampler, .ends = std::move(ends), .tokens = limit}, rng, [&](int32_t id) {
        tokens.push_back(id);
        give(stream.push(tokenizer.token_bytes(id)));
        return wants_more;
      });
  if (wants_more) give(stream.finish());
  result.ids = generation.ids;
  result.ended = generation.ended;
  result.prompt_seconds = generation.prompt_seconds;
  result.seconds = generation.seconds;
  return result;
}

void Session::Impl::retell(std::vector<int32_t> ids) {
  const auto different = std::ranges::mismatch(ids, tokens).in1;
  sequence.rewind(std::min<int64_t>(sequence.position(), different - ids.begin()));
  tokens = std::move(ids);
}

Session::Session(const Model& model, const SessionOptions& options, const ProgressFn& progress)
    : impl_(std::make_unique<Impl>(model.impl_, options, progress)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

void Session::append(const std::string& text) {
  append(impl_->model->tokenizer().encode(text, impl_->tokens.empty()));
}

void Session::append(std::span<const int32_t> ids) {
  impl_->tokens.insert(impl_->tokens.end(), ids.begin(), ids.end());
}

GenerateResult Session::generate(int64_t tokens, const TextFn& on_text) {
  return impl_->run(tokens, {}, on_text);
}

GenerateResult Session::chat(const std::string& said, int64_t tokens, const TextFn& on_text) {
  std::vector<ChatMessage> messages = impl_->messages;
  if (messages.empty() && !impl_->options.system.empty())
    messages.push_back({"system", impl_->options.system});
  messages.push_back({"user", said});
  return chat(std::move(messages), tokens, on_text);
}

GenerateResult Session::chat(std::vector<ChatMessage> messages, int64_t tokens,
                             const TextFn& on_text) {
  Impl& s = *impl_;
  Model::Impl::ChatPrompt prompt = s.model->chat_prompt(messages);
  s.retell(std::move(prompt.ids));
  GenerateResult result = s.run(tokens, std::move(prompt.ends), on_text);
  messages.push_back({"assistant", result.text});
  s.messages = std::move(messages);
  return result;
}

void Session::reset() {
  impl_->sequence.rewind(0);
  impl_->tokens.clear();
  impl_->messages.clear();
  impl_->rng = Rng(impl_->options.sampling.seed);
}

const std::vector<int32_t>& Session::tokens() const { return impl_->tokens; }
int64_t Session::context() const { return impl_->context; }
int64_t Session::cache_bytes() const { return impl_->sequence.bytes(); }

}  // namespace watersic
