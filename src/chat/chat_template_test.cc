// Conversations through templates of the kinds that models come with.
#include "chat/chat_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "io/json.h"
#include "watersic/error.h"

namespace watersic {
namespace {

const std::vector<ChatMessage> kTalk = {{"system", " Be brief. "},
                                        {"user", "Who wrote Emma?\n"},
                                        {"assistant", "<think>\nhm\n</think>\n\nJane Austen."},
                                        {"user", "When?"}};
const std::vector<ChatMessage> kQuestion = {{"user", "Hi"}};

std::string rendered(const std::string& source, const std::vector<ChatMessage>& messages,
                     bool open = true) {
  const Json config = {{"chat_template", source}, {"bos_token", "<s>"}, {"eos_token", "</s>"}};
  return ChatTemplate::find({.config = config.dump()}, "model")->render(messages, open, 0);
}

// ChatML, on one line.
TEST(ChatTemplates, ChatMl) {
  const std::string source =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
      "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
      "{{ '<|im_start|>assistant\\n' }}{% endif %}";
  EXPECT_EQ(rendered(source, kQuestion), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(rendered(source, kQuestion, false), "<|im_start|>user\nHi<|im_end|>\n");
}

// As Llama 3's: a header for each message, the first with BOS, contents trimmed, a date.
TEST(ChatTemplates, LikeLlama3) {
  const std::string source = R"({{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%Y") %}
    {%- else %}
        {%- set date_string = "2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system's message stands in a block of its own. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Tools: " ~ tools | tojson }}
{%- endif %}
{{- "Year: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
)";
  const std::string year = rendered("{{ strftime_now('%Y') }}", {});
  EXPECT_EQ(rendered(source, kTalk),
            "<s><|start_header_id|>system<|end_header_id|>\n\nYear: " + year +
                "\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
                "Who wrote Emma?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
                "<think>\nhm\n</think>\n\nJane Austen.<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nWhen?<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

// As Qwen's: a default system message, a search from the end, thoughts of old answers left out.
TEST(ChatTemplates, LikeQwen) {
  const std::string source = R"({%- if tools %}
    {{- '# Tools\n' }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set thoughts = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thoughts = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thoughts = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or thoughts) %}
            {{- '<|im_start|>' + message.role + '\n<think>\n' + thoughts.strip('\n') + '\n</think>\n\n' + content }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %})";
  EXPECT_EQ(rendered(source, kTalk),
            "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\nWho wrote Emma?\n"
            "<|im_end|>\n<|im_start|>assistant\nJane Austen.<|im_end|>\n<|im_start|>user\nWhen?"
            "<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(rendered(source, {kTalk[1], kTalk[2]}, false),
            "<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\nWho wrote Emma?\n"
            "<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\nJane Austen.<|im_end|>\n");
}

// As Mistral's: no system role, turns that must alternate, EOS behind an answer.
TEST(ChatTemplates, LikeMistral) {
  const std::string source = R"({{ bos_token }}{% for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif %}
{%- if message['role'] == 'user' %}
{{- '[INST] ' + message['content'] + ' [/INST]' }}
{%- elif message['role'] == 'assistant' %}
{{- ' ' + message['content'] + eos_token}}
{%- endif %}
{%- endfor %})";
  EXPECT_EQ(rendered(source, {kTalk.begin() + 1, kTalk.end()}),
            "<s>[INST] Who wrote Emma?\n [/INST] <think>\nhm\n</think>\n\nJane Austen.</s>"
            "[INST] When? [/INST]");
  try {
    rendered(source, kTalk);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "model: chat template: the template refuses: Conversation roles must alternate "
                 "user/assistant/user/assistant/...");
  }
}

TEST(ChatTemplates, AreFoundWhereModelsHaveThem) {
  const auto found = [](const ChatTemplate::Texts& texts) {
    const auto chat = ChatTemplate::find(texts, "model");
    return chat ? chat->render(kQuestion, true, 0) : "none";
  };
  EXPECT_EQ(found({}), "none");
  EXPECT_EQ(found({.config = R"({"bos_token": "<s>"})"}), "none");
  EXPECT_EQ(found({.config = R"({"chat_template": null})"}), "none");
  EXPECT_EQ(found({.config = R"({"chat_template": "{{ bos_token }}.", "bos_token": null})"}), ".");
  EXPECT_EQ(found({.config = R"({"chat_template": [{"name": "tool_use", "template": "t"},
                                                   {"name": "default", "template": "d"}]})"}),
            "d");
  EXPECT_EQ(found({.config = R"({"chat_template": "config"})", .jinja = "file\n"}), "file");
  EXPECT_EQ(found({.config = R"({"bos_token": {"content": "<b>", "special": true}})",
                   .special_tokens_map = R"({"bos_token": "<x>", "eos_token": "<e>"})",
                   .jinja = "{{ bos_token }}{{ eos_token }}{{ tools }}"}),
            "<b><e>None");
  for (const char* config :
       {R"({"chat_template": 1})", R"({"chat_template": []})", R"({"chat_template": ["x"]})",
        R"({"chat_template": [{"name": "tool_use", "template": "t"}]})", "[]", "{",
        R"({"chat_template": "{% if %}"})"}) {
    try {
      found({.config = config});
      ADD_FAILURE() << config;
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).rfind("model: ", 0), 0U) << e.what();
    }
  }
}

}  // namespace
}  // namespace watersic
