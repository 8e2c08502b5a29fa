// Answers in the form of OpenAI's API.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "io/json.h"
#include "server/choice_text.h"
#include "tokenizer/tokenizer.h"

namespace watersic {

// What all parts of an answer say.
struct AnswerHead {
  bool chat = false;
  std::string id, model;
  int64_t created = 0;       // seconds since 1970
  bool likelihoods = false;  // whether choices tell them
};

struct FinishedChoice {
  TextPiece piece;
  std::string finish;
};

Json usage_json(int64_t prompt_tokens, int64_t written_tokens);
Json whole_json(const AnswerHead& head, const std::vector<FinishedChoice>& choices,
                const Json& usage, const Tokenizer& tokenizer);

// A part of a stream: what is new of a choice. `finish` may be empty.
Json chunk_json(const AnswerHead& head, int64_t choice, const TextPiece& piece,
                const std::string& finish, const Tokenizer& tokenizer);
// The first of a chat's choice, which says who speaks.
Json first_chunk_json(const AnswerHead& head, int64_t choice);
// The last of a stream, of no choice.
Json usage_chunk_json(const AnswerHead& head, const Json& usage);

}  // namespace watersic
