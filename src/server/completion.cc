#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "server/api_error.h"
#include "server/service.h"

namespace watersic {
namespace {

std::string sse(const Json& json) { return "data: " + json.dump() + "\n\n"; }

}  // namespace

Completion::Completion(TextRequest request, AnswerHead head, std::shared_ptr<ServedAnswer> answer,
                       const Tokenizer& tokenizer, Scheduler& scheduler, Metrics& metrics,
                       std::chrono::seconds limit)
    : request_(std::move(request)),
      head_(std::move(head)),
      answer_(std::move(answer)),
      tokenizer_(tokenizer),
      scheduler_(scheduler),
      metrics_(metrics),
      deadline_(start_ + limit),
      choices_(static_cast<size_t>(request_.count)) {}

Completion::~Completion() {
  answer_->cancel();
  scheduler_.wake();
}

std::vector<Delta> Completion::take(std::chrono::milliseconds wait) {
  const bool waited = !answer_->has_room();
  std::vector<Delta> deltas = answer_->take(wait);
  if (waited) scheduler_.wake();
  if (!deltas.empty() && !begun_) {
    begun_ = true;
    metrics_.first_token_after(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
  }
  return deltas;
}

// What is retried only makes a server that is late later.
std::optional<ApiError> Completion::failure() const {
  if (const auto error = answer_->error()) return ApiError(500, *error);
  if (!answer_->finished() && std::chrono::steady_clock::now() > deadline_)
    return ApiError(504, "the answer took longer than the server allows", "", "timeout");
  return {};
}

void Completion::finish() {
  done_ = true;
  metrics_.answered_after(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
}

std::string Completion::events(std::chrono::milliseconds wait) {
  std::string out;
  if (done_) return out;
  if (head_.chat && !greeted_) {
    greeted_ = true;
    for (int64_t i = 0; i < request_.count; ++i) out += sse(first_chunk_json(head_, i));
    return out;
  }
  for (const Delta& delta : take(wait))
    out += sse(chunk_json(head_, delta.choice, delta.piece, delta.finish, tokenizer_));
  if (const auto error = failure()) {
    out += sse(error_json(*error));
    finish();
    return out;
  }
  if (!answer_->finished()) return out;
  if (request_.usage)
    out += sse(
        usage_chunk_json(head_, usage_json(answer_->prompt_tokens(), answer_->written_tokens())));
  out += "data: [DONE]\n\n";
  finish();
  return out;
}

std::optional<std::string> Completion::whole(std::chrono::milliseconds wait) {
  for (Delta& delta : take(wait)) {
    FinishedChoice& choice = choices_[static_cast<size_t>(delta.choice)];
    choice.piece.append(std::move(delta.piece));
    choice.finish = delta.finish;
  }
  if (const auto error = failure()) throw ApiError(*error);
  if (!answer_->finished()) return {};
  finish();
  return whole_json(head_, choices_,
                    usage_json(answer_->prompt_tokens(), answer_->written_tokens()), tokenizer_)
      .dump();
}

}  // namespace watersic
