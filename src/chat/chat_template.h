// How a conversation becomes the text that a model was trained on: the chat template that the model
// carries, as Hugging Face's apply_chat_template renders it.
#pragma once

#include <ctime>
#include <optional>
#include <span>
#include <string>

#include "chat/template.h"
#include "watersic/message.h"

namespace watersic {

class ChatTemplate {
 public:
  // What a model says of its chat: contents of files, empty for one that is not there.
  struct Texts {
    std::string config;              // tokenizer_config.json
    std::string special_tokens_map;  // special_tokens_map.json
    std::string jinja;               // chat_template.jinja, which goes before the configuration's
  };
  // None where the texts hold no template; of several named ones, "default" is taken. Throws Error,
  // calling the model `name`, for a template that is malformed.
  static std::optional<ChatTemplate> find(const Texts& texts, const std::string& name);

  // The text up to where the assistant begins to speak, or, if `open` is false, all that is said.
  // Special tokens stand in it as text: it is encoded without adding any. Throws Error where the
  // template refuses the messages or uses what is not implemented.
  std::string render(std::span<const ChatMessage> messages, bool open, std::time_t now) const;

 private:
  ChatTemplate(jinja::Template program, jinja::Value variables)
      : program_(std::move(program)), variables_(std::move(variables)) {}

  jinja::Template program_;
  jinja::Value variables_;  // bos_token, eos_token, ...
};

}  // namespace watersic
