// What a client asks for: the body of /v1/completions or /v1/chat/completions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_template.h"
#include "watersic/generate.h"

namespace watersic {

struct TextRequest {
  bool chat = false;
  std::string model;                  // empty: whatever is served
  std::vector<ChatMessage> messages;  // of a chat
  std::string prompt;                 // of a completion: a text, or tokens
  std::vector<int32_t> ids;

  Sampling sampling;             // its seed aside
  std::optional<uint64_t> seed;  // none: another one each time
  int64_t tokens = 0;            // at most; 0: the default
  int64_t count = 1;             // of choices
  std::vector<std::string> stop;
  int64_t likeliest = -1;              // of each token so many; -1: no likelihoods
  bool stream = false, usage = false;  // the latter: at the stream's end
};

constexpr int64_t kMostChoices = 16;

// Throws ApiError: 400, naming the field. Fields that would change the answer and are not
// implemented are refused unless they have their neutral value.
TextRequest parse_text_request(std::string_view body, bool chat);

}  // namespace watersic
