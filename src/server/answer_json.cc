#include "server/answer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/text.h"

namespace watersic {
namespace {

// A special token's name, too.
std::string bytes_of_token(int32_t id, const Tokenizer& tokenizer) {
  std::string bytes = tokenizer.token_bytes(id);
  if (bytes.empty()) bytes = tokenizer.decode({&id, 1});
  return bytes;
}

// JSON knows no infinity, and what is that unlikely has no number that says more.
double finite(double log_probability) { return std::max(log_probability, -9999.0); }

Json chat_token(int32_t id, double log_probability, const Tokenizer& tokenizer) {
  const std::string bytes = bytes_of_token(id, tokenizer);
  Json numbers = Json::array();
  for (const char c : bytes) numbers.push_back(static_cast<uint8_t>(c));
  return {{"token", replace_invalid_utf8(bytes)},
          {"logprob", finite(log_probability)},
          {"bytes", std::move(numbers)}};
}

Json chat_likelihoods(const TextPiece& piece, const Tokenizer& tokenizer) {
  Json content = Json::array();
  for (const PlacedToken& placed : piece.tokens) {
    const Likelihoods& likelihoods = placed.token.likelihoods;
    Json token = chat_token(placed.token.id, likelihoods.log_probability, tokenizer);
    token["top_logprobs"] = Json::array();
    for (const TokenLikelihood& other : likelihoods.likeliest)
      token["top_logprobs"].push_back(chat_token(other.id, other.log_probability, tokenizer));
    content.push_back(std::move(token));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

// Part of a character as "bytes:\xe2\x80", as OpenAI writes it.
std::string completion_token(int32_t id, const Tokenizer& tokenizer) {
  std::string bytes = bytes_of_token(id, tokenizer);
  if (find_invalid_utf8(bytes) == std::string::npos) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
  return text;
}

Json completion_likelihoods(const TextPiece& piece, const Tokenizer& tokenizer) {
  Json tokens = Json::array(), own = Json::array(), tops = Json::array(), offsets = Json::array();
  for (const PlacedToken& placed : piece.tokens) {
    const Likelihoods& likelihoods = placed.token.likelihoods;
    tokens.push_back(completion_token(placed.token.id, tokenizer));
    own.push_back(finite(likelihoods.log_probability));
    offsets.push_back(placed.character);
    Json top = Json::object();
    for (const TokenLikelihood& other : likelihoods.likeliest)
      top.emplace(completion_token(other.id, tokenizer), finite(other.log_probability));
    tops.push_back(std::move(top));
  }
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(own)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

Json answer_body(const AnswerHead& head, const char* object, Json choices) {
  return {{"id", head.id},
          {"object", object},
          {"created", head.created},
          {"model", head.model},
          {"choices", std::move(choices)}};
}

Json choice_body(const AnswerHead& head, int64_t choice, const TextPiece& piece,
                 const std::string& finish, const Tokenizer& tokenizer) {
  Json out = {{"index", choice},
              {"finish_reason", finish.empty() ? Json() : Json(finish)},
              {"logprobs", nullptr}};
  if (head.likelihoods)
    out["logprobs"] =
        head.chat ? chat_likelihoods(piece, tokenizer) : completion_likelihoods(piece, tokenizer);
  return out;
}

}  // namespace

Json usage_json(int64_t prompt_tokens, int64_t written_tokens) {
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", written_tokens},
          {"total_tokens", prompt_tokens + written_tokens}};
}

Json whole_json(const AnswerHead& head, const std::vector<FinishedChoice>& choices,
                const Json& usage, const Tokenizer& tokenizer) {
  Json list = Json::array();
  for (size_t i = 0; i < choices.size(); ++i) {
    const FinishedChoice& own = choices[i];
    Json choice = choice_body(head, static_cast<int64_t>(i), own.piece, own.finish, tokenizer);
    if (head.chat)
      choice["message"] = {
          {"role", "assistant"}, {"content", own.piece.text}, {"refusal", nullptr}};
    else
      choice["text"] = own.piece.text;
    list.push_back(std::move(choice));
  }
  Json out = answer_body(head, head.chat ? "chat.completion" : "text_completion", std::move(list));
  out["usage"] = usage;
  return out;
}

Json chunk_json(const AnswerHead& head, int64_t choice, const TextPiece& piece,
                const std::string& finish, const Tokenizer& tokenizer) {
  Json own = choice_body(head, choice, piece, finish, tokenizer);
  if (head.chat) {
    own["delta"] = Json::object();
    if (!piece.empty()) own["delta"]["content"] = piece.text;
  } else {
    own["text"] = piece.text;
  }
  return answer_body(head, head.chat ? "chat.completion.chunk" : "text_completion",
                     Json::array({std::move(own)}));
}

Json first_chunk_json(const AnswerHead& head, int64_t choice) {
  const Json own = {{"index", choice},
                    {"delta", {{"role", "assistant"}, {"content", ""}}},
                    {"finish_reason", nullptr},
                    {"logprobs", nullptr}};
  return answer_body(head, "chat.completion.chunk", Json::array({own}));
}

Json usage_chunk_json(const AnswerHead& head, const Json& usage) {
  Json out =
      answer_body(head, head.chat ? "chat.completion.chunk" : "text_completion", Json::array());
  out["usage"] = usage;
  return out;
}

}  // namespace watersic
