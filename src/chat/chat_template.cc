#include "chat/chat_template.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/json.h"

namespace watersic {
namespace {

// Of "bos_token", "eos_token", ... those that are set.
void add_tokens(const Json& json, jinja::Value& variables) {
  for (const auto& [key, value] : json.items()) {
    if (!key.ends_with("_token") || variables.contains(key)) continue;
    if (value.is_string()) variables[key] = value.get<std::string>();
    if (value.is_object() && value.contains("content") && value["content"].is_string())
      variables[key] = value["content"].get<std::string>();
  }
}

// tokenizer_config.json's: one, or a list of named ones.
std::string template_in(const JsonFields& config) {
  if (!config.has("chat_template")) return {};
  const Json& field = config.json()["chat_template"];
  if (field.is_string()) return field.get<std::string>();
  if (field.is_array()) {
    for (const Json& entry : field) {
      if (!entry.is_object()) break;
      const JsonFields named(entry, config.name() + ": chat_template");
      if (named.text("name") == "default") return named.text("template");
    }
  }
  config.fail("chat_template", "a template, or named ones with a default among them");
}

}  // namespace

std::optional<ChatTemplate> ChatTemplate::find(const Texts& texts, const std::string& name) {
  jinja::Value variables = jinja::Value::object();
  std::string source = texts.jinja;
  const auto read = [&](const std::string& text, const std::string& file, bool has_template) {
    if (text.empty()) return;
    const Json json = parse_json(text, name + ": " + file);
    const JsonFields fields(json, name + ": " + file);
    if (has_template && source.empty()) source = template_in(fields);
    add_tokens(json, variables);
  };
  read(texts.config, "tokenizer_config.json", true);
  read(texts.special_tokens_map, "special_tokens_map.json", false);
  if (source.empty()) return {};
  return ChatTemplate(jinja::Template(source, name + ": chat template"), std::move(variables));
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages, bool open,
                                 std::time_t now) const {
  jinja::Value variables = variables_;
  variables["messages"] = jinja::Value::array();
  for (const ChatMessage& message : messages)
    variables["messages"].push_back({{"role", message.role}, {"content", message.content}});
  variables["add_generation_prompt"] = open;
  variables["tools"] = nullptr;
  variables["documents"] = nullptr;
  return program_.render(variables, now);
}

}  // namespace watersic
