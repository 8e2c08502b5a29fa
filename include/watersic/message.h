// What is said in a conversation.
#pragma once

#include <string>

namespace watersic {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

}  // namespace watersic
