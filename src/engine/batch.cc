#include "engine/batch.h"

#include <algorithm>
#include <cassert>
#include <exception>

#include "base/rng.h"

namespace watersic {
namespace {

// Of prompts, while others write.
constexpr int64_t kPieceTokens = 64;

}  // namespace

struct Batch::Text {
  Text(TextOrder o, std::shared_ptr<Writer> w, const ModelConfig& config, CacheType type)
      : order(std::move(o)),
        writer(std::move(w)),
        sequence(config, type,
                 static_cast<int64_t>(order.prompt.size()) + order.options.tokens - 1),
        rng(order.seed) {}

  int64_t unread() const {
    return std::max<int64_t>(0, static_cast<int64_t>(order.prompt.size()) - sequence.position());
  }
  bool goes_on() const { return !over && wish == Writer::Wish::kGoOn; }

  TextOrder order;
  std::shared_ptr<Writer> writer;
  Sequence sequence;
  Rng rng;
  Writer::Wish wish = Writer::Wish::kGoOn;
  int32_t last = 0;  // the token that it wrote last
  int64_t written = 0;
  bool over = false;
};

Batch::Batch(ThreadPool& pool, Engine& engine, const ForwardModel& model, CacheType cache)
    : pool_(pool), engine_(engine), model_(model), cache_(cache) {}
Batch::~Batch() = default;

void Batch::add(TextOrder order, std::shared_ptr<Writer> writer) {
  assert(!order.prompt.empty() && order.options.tokens > 0);
  texts_.push_back(
      std::make_unique<Text>(std::move(order), std::move(writer), model_.config(), cache_));
}

int64_t Batch::cache_bytes() const {
  int64_t bytes = 0;
  for (const auto& text : texts_) bytes += text->sequence.bytes();
  return bytes;
}

void Batch::finish(Text& text, TextEnd how, const std::string& error) {
  text.over = true;
  text.writer->end(how, error);
}

void Batch::fail(const std::string& error) {
  for (const auto& text : texts_)
    if (!text->over) finish(*text, TextEnd::kFailed, error);
  texts_.clear();
}

std::vector<Batch::Part> Batch::writing() const {
  std::vector<Part> parts;
  for (const auto& text : texts_)
    if (text->goes_on() && text->unread() == 0)
      parts.push_back({.text = text.get(), .ids = {&text->last, 1}, .last = true});
  return parts;
}

// Cut where it changes no bit. Short ends of prompts share what room there is.
std::vector<Batch::Part> Batch::reading(int64_t room) const {
  std::vector<Part> parts;
  for (const auto& text : texts_) {
    const int64_t unread = text->unread(), cut = text->sequence.cut();
    if (!text->goes_on() || unread == 0) continue;
    const int64_t count = unread <= room ? unread : room / cut * cut;
    if (count == 0) continue;
    const auto ids =
        std::span(text->order.prompt)
            .subspan(static_cast<size_t>(text->sequence.position()), static_cast<size_t>(count));
    parts.push_back({.text = text.get(), .ids = ids, .last = count == unread});
    room -= count;
  }
  return parts;
}

bool Batch::step() {
  for (const auto& text : texts_) {
    text->wish = text->writer->wish();
    if (text->wish == Writer::Wish::kStop) finish(*text, TextEnd::kStopped);
  }
  std::vector<Part> parts = writing();
  const auto independent = static_cast<size_t>(std::min(model_.independent_tokens(), kPassTokens));
  const auto writers = static_cast<int64_t>(parts.size());
  const bool all_at_once = static_cast<int64_t>(independent) == kPassTokens;
  std::vector<Part> prompts;
  if (all_at_once) {
    prompts = reading(std::min(writers == 0 ? kPassTokens : kPieceTokens, kPassTokens - writers));
    // The cache may be one that is cut at whole passes only.
    if (prompts.empty()) prompts = reading(kPassTokens);
  } else {
    // As generate_tokens reads it, and nothing beside it.
    prompts = reading(kPassTokens);
    if (prompts.size() > 1) prompts.resize(1);
  }
  if (!prompts.empty()) {
    // The next step begins with another prompt, so that a long one lets short ones pass.
    const auto first = std::ranges::find_if(
        texts_, [&](const auto& text) { return text.get() == prompts.front().text; });
    std::rotate(first, first + 1, texts_.end());
  }
  const bool busy = !parts.empty() || !prompts.empty();
  if (all_at_once) {
    int64_t tokens = writers;
    for (const Part& part : prompts) tokens += static_cast<int64_t>(part.ids.size());
    if (tokens <= kPassTokens) {
      parts.insert(parts.end(), prompts.begin(), prompts.end());
      prompts.clear();
    }
  }
  for (size_t begin = 0; begin < parts.size(); begin += independent)
    advance(std::span(parts).subspan(begin, std::min(independent, parts.size() - begin)));
  if (!prompts.empty()) advance(prompts);
  std::erase_if(texts_, [](const auto& text) { return text->over; });
  return busy;
}

// What fails beside others is run alone, so that only those fail whose fault it is.
void Batch::advance(std::span<const Part> parts) {
  std::vector<Step> steps;
  for (const Part& part : parts)
    steps.push_back({.sequence = &part.text->sequence,
                     .ids = part.ids,
                     .logits = part.last ? Step::Logits::kLast : Step::Logits::kNone});
  Matrix<float> logits;
  try {
    logits = engine_.advance(steps);
  } catch (const std::exception& e) {
    if (parts.size() == 1) return finish(*parts.front().text, TextEnd::kFailed, e.what());
    for (size_t i = 0; i < parts.size(); ++i) advance(parts.subspan(i, 1));
    return;
  }
  choose(parts, logits);
}

void Batch::choose(std::span<const Part> parts, const Matrix<float>& logits) {
  std::vector<Text*> wanting;
  for (const Part& part : parts) {
    if (part.text->written == 0) prompt_tokens_ += static_cast<int64_t>(part.ids.size());
    if (part.last) wanting.push_back(part.text);
  }
  std::vector<WrittenToken> tokens(wanting.size());
  pool_.parallel_for(static_cast<int64_t>(wanting.size()), [&](int64_t i) {
    Text& text = *wanting[static_cast<size_t>(i)];
    WrittenToken& token = tokens[static_cast<size_t>(i)];
    const auto row = logits.row(i);
    token.id = choose_token(row, text.order.options.sampler, text.rng.uniform());
    if (text.order.likeliest >= 0)
      token.likelihoods = likelihoods(row, token.id, text.order.likeliest);
  });
  for (size_t i = 0; i < wanting.size(); ++i) {
    Text& text = *wanting[i];
    if (text.order.options.ends.contains(tokens[i].id)) {
      finish(text, TextEnd::kEnded);
      continue;
    }
    text.last = tokens[i].id;
    ++text.written;
    ++written_tokens_;
    if (!text.writer->take(tokens[i]))
      finish(text, TextEnd::kStopped);
    else if (text.written == text.order.options.tokens)
      finish(text, TextEnd::kFull);
  }
}

}  // namespace watersic
