#include "server/text_request.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/api_error.h"

namespace watersic {
namespace {

TextRequest chat_of(const std::string& fields) {
  return parse_text_request(R"({"messages": [{"role": "user", "content": "Hi"}])" +
                                (fields.empty() ? "" : ", " + fields) + "}",
                            true);
}
TextRequest completion_of(const std::string& fields) {
  return parse_text_request(R"({"prompt": "Hi")" + (fields.empty() ? "" : ", " + fields) + "}",
                            false);
}
// The request is refused with a 400 that names `param`, in which `part` is found.
void refused(const std::string& body, bool chat, const std::string& param,
             const std::string& part) {
  SCOPED_TRACE(body);
  try {
    parse_text_request(body, chat);
    ADD_FAILURE() << "was taken";
  } catch (const ApiError& e) {
    EXPECT_EQ(e.status, 400);
    EXPECT_EQ(e.param, param) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    const Json json = error_json(e);
    EXPECT_EQ(json["error"]["type"], "invalid_request_error");
    EXPECT_EQ(json["error"]["message"], e.what());
  }
}
void field_refused(const std::string& field, bool chat, const std::string& param,
                   const std::string& part = "") {
  const std::string head =
      chat ? R"({"messages": [{"role": "user", "content": "Hi"}], )" : R"({"prompt": "Hi", )";
  refused(head + field + "}", chat, param, part);
}

TEST(TextRequest, AChatIsRead) {
  const TextRequest r = parse_text_request(R"({
    "model": "m", "messages": [
      {"role": "developer", "content": "Be kind."},
      {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "assistant", "content": "c", "refusal": null, "tool_calls": [], "annotations": []},
      {"role": "user", "content": "d"}],
    "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": -1, "n": 3,
    "max_completion_tokens": 7, "stop": ["x", "yz"], "stream": true,
    "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 5})",
                                           true);
  ASSERT_EQ(r.messages.size(), 4U);
  EXPECT_EQ(r.messages[0].role, "system");
  EXPECT_EQ(r.messages[1].content, "a\nb");
  EXPECT_EQ(r.model, "m");
  EXPECT_EQ(r.sampling.temperature, 0.5);
  EXPECT_EQ(r.sampling.top_p, 0.9);
  EXPECT_EQ(r.sampling.top_k, 40);
  EXPECT_EQ(r.sampling.min_p, 0.05);
  EXPECT_EQ(r.seed, ~uint64_t{0});
  EXPECT_EQ(r.count, 3);
  EXPECT_EQ(r.tokens, 7);
  EXPECT_EQ(r.stop, (std::vector<std::string>{"x", "yz"}));
  EXPECT_TRUE(r.stream && r.usage && r.chat);
  EXPECT_EQ(r.likeliest, 5);
}

TEST(TextRequest, ACompletionIsRead) {
  const TextRequest r = completion_of(R"("max_tokens": 9, "logprobs": 0, "stop": "end")");
  EXPECT_EQ(r.prompt, "Hi");
  EXPECT_EQ(r.tokens, 9);
  EXPECT_EQ(r.likeliest, 0);
  EXPECT_EQ(r.stop, std::vector<std::string>{"end"});
  EXPECT_FALSE(r.seed || r.sampling.temperature || r.stream);
  EXPECT_EQ(parse_text_request(R"({"prompt": ["Hi"]})", false).prompt, "Hi");
  EXPECT_EQ(parse_text_request(R"({"prompt": [3, 0, 9]})", false).ids,
            (std::vector<int32_t>{3, 0, 9}));
  EXPECT_EQ(parse_text_request(R"({"prompt": [[3]]})", false).ids, std::vector<int32_t>{3});
  EXPECT_EQ(completion_of(R"("seed": 18446744073709551615)").seed, ~uint64_t{0});
}

TEST(TextRequest, WhatDoesNotChangeTheAnswerIsTaken) {
  chat_of(R"("user": "u", "metadata": {"a": "b"}, "store": true, "service_tier": "auto")");
  chat_of(R"("frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "tools": [],
             "tool_choice": "none", "response_format": {"type": "text"}, "functions": null,
             "temperature": null, "stop": null, "n": 1, "logprobs": false, "top_logprobs": 0)");
  completion_of(R"("echo": false, "suffix": "", "best_of": 2, "n": 2, "logit_bias": null)");
  SUCCEED();
}

TEST(TextRequest, WhatIsNotImplementedIsRefused) {
  for (const char* field :
       {R"("tools": [{"type": "function"}])", R"("logit_bias": {"1": 5})",
        R"("response_format": {"type": "json_object"})", R"("frequency_penalty": 0.5)",
        R"("presence_penalty": -1)", R"("tool_choice": "required")", R"("audio": {"voice": "x"})",
        R"("reasoning_effort": "low")", R"("repetition_penalty": 1.1)"}) {
    const std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    field_refused(field, true, name, "is not supported");
  }
  field_refused(R"("echo": true)", false, "echo", "is not supported");
  field_refused(R"("suffix": "x")", false, "suffix", "is not supported");
  field_refused(R"("best_of": 3, "n": 2)", false, "best_of", "is not supported");
  field_refused(R"("frobnicate": 1)", true, "frobnicate", "no field that is known");
  field_refused(R"("messages2": [])", false, "messages2", "no field that is known");
  refused(R"({"messages": [{"role": "user", "content": "Hi", "name": "Bob"}]})", true,
          "messages[0].name", "is not supported");
  refused(R"({"messages": [{"role": "tool", "content": "Hi"}]})", true, "messages[0].role",
          "\"assistant\"");
  refused(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", true,
          "messages[0].content[0].type", "image_url");
  refused(R"({"prompt": ["a", "b"]})", false, "prompt", "one prompt");
}

TEST(TextRequest, WhatIsWrongIsNamed) {
  for (const char* value : {"\"hot\"", "-0.1", "1e300", "true", "[1]", "{}"})
    field_refused(std::string("\"temperature\": ") + value, true, "temperature",
                  "expected a number");
  field_refused(R"("top_p": 0)", true, "top_p", "above 0");
  field_refused(R"("top_p": 1.01)", true, "top_p");
  field_refused(R"("top_k": 1.5)", true, "top_k", "integer");
  field_refused(R"("top_k": -1)", true, "top_k");
  field_refused(R"("min_p": 2)", true, "min_p");
  field_refused(R"("n": 0)", true, "n");
  field_refused(R"("n": 17)", true, "n");
  field_refused(R"("n": 99999999999999999999999)", true, "n", "integer");
  field_refused(R"("n": 18446744073709551615)", true, "n", "integer");
  field_refused(R"("max_tokens": 0)", true, "max_tokens");
  field_refused(R"("max_tokens": 5, "max_completion_tokens": 6)", true, "max_tokens");
  field_refused(R"("seed": 1.0)", true, "seed");
  field_refused(R"("stop": "")", true, "stop");
  field_refused(R"("stop": [1])", true, "stop");
  field_refused(R"("stop": {"a": "b"})", true, "stop");
  field_refused(R"("stop": [)" +
                    [] {
                      std::string many = "\"a\"";
                      for (int i = 0; i < 16; ++i) many += ",\"a\"";
                      return many;
                    }() +
                    "]",
                true, "stop", "at most 16");
  field_refused(R"("stream": 1)", true, "stream", "true or false");
  field_refused(R"("stream_options": {"include_usage": true})", true, "stream_options");
  field_refused(R"("stream": true, "stream_options": {"x": 1})", true, "stream_options.x");
  field_refused(R"("stream": true, "stream_options": 1)", true, "stream_options", "an object");
  field_refused(R"("logprobs": 2)", true, "logprobs");
  field_refused(R"("top_logprobs": 2)", true, "top_logprobs");
  field_refused(R"("logprobs": true, "top_logprobs": 21)", true, "top_logprobs");
  field_refused(R"("logprobs": true)", false, "logprobs");
  refused("{}", true, "messages", "no such field");
  refused("{}", false, "prompt", "no such field");
  refused(R"({"messages": []})", true, "messages", "a list of messages");
  refused(R"({"messages": ["a"]})", true, "messages[0]", "an object");
  refused(R"({"messages": [{"role": "user"}]})", true, "messages[0].content", "no such field");
  refused(R"({"prompt": []})", false, "prompt", "token ids");
  refused(R"({"prompt": [1, -1]})", false, "prompt", "token ids");
  refused(R"({"prompt": [1, 1.5]})", false, "prompt", "token ids");
  refused(R"({"prompt": [4294967296]})", false, "prompt", "token ids");
}

TEST(TextRequest, WhatIsNoJsonIsRefused) {
  refused("", true, "", "not valid JSON");
  refused("[]", true, "", "expected an object");
  refused(R"({"prompt": "x", "temperature": NaN})", false, "", "\"temperature\"");
  refused(R"({"prompt": "x", "temperature": 1e999})", false, "", "\"temperature\"");
  refused(R"({"prompt": "x", "prompt": "y"})", false, "", "\"prompt\" twice");
  refused("{\"prompt\": \"\xff\"}", false, "", "not valid JSON");
  refused(std::string(100'000, '['), true, "", "nested deeper than 64");
  refused(R"({"a":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}", true, "",
          "nested deeper than 64");
}

}  // namespace
}  // namespace watersic
