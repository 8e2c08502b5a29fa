#include "server/text_request.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "server/api_error.h"
#include "server/request_fields.h"

namespace watersic {
namespace {

constexpr size_t kMostStops = 16, kLongestStop = 256;
constexpr int64_t kMostTokens = int64_t{1} << 30;

std::vector<std::string> stops_of(RequestFields& fields) {
  const Json* value = fields.find("stop");
  if (value == nullptr) return {};
  const std::string expected = fmt::format(
      "a text of 1 to {} bytes, or a list of at most {} such texts", kLongestStop, kMostStops);
  const Json list = value->is_array() ? *value : Json::array({*value});
  if (list.size() > kMostStops) fields.fail("stop", expected);
  std::vector<std::string> stops;
  for (const Json& stop : list) {
    if (!stop.is_string()) fields.fail("stop", expected);
    stops.push_back(stop.get<std::string>());
    if (stops.back().empty() || stops.back().size() > kLongestStop) fields.fail("stop", expected);
  }
  return stops;
}

// A text, or parts that are texts, a line each.
std::string content_of(RequestFields& fields, const std::string& place) {
  const Json* value = fields.find("content");
  const char* expected = "a text, or a list of parts of the type text";
  if (value == nullptr) fields.fail("content", expected);
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_array() || value->empty()) fields.fail("content", expected);
  std::string text;
  for (size_t i = 0; i < value->size(); ++i) {
    RequestFields part((*value)[i], fmt::format("{}content[{}].", place, i));
    if (part.text("type") != "text") part.fail("type", "\"text\"");
    const auto words = part.text("text");
    if (!words) part.fail("text", "a text");
    part.check_known();
    text += (i == 0 ? "" : "\n") + *words;
  }
  return text;
}

std::vector<ChatMessage> messages_of(RequestFields& fields) {
  const Json* value = fields.find("messages");
  if (value == nullptr || !value->is_array() || value->empty())
    fields.fail("messages", "a list of messages");
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < value->size(); ++i) {
    const std::string place = fmt::format("messages[{}].", i);
    RequestFields message((*value)[i], place);
    std::string role = message.text("role").value_or("");
    if (role == "developer") role = "system";  // OpenAI's newer name
    if (role != "system" && role != "user" && role != "assistant")
      message.fail("role", "\"system\", \"user\" or \"assistant\"");
    messages.push_back({role, content_of(message, place)});
    message.ignore({"annotations"});  // what clients send back of an answer
    message.refuse({"name", "tool_calls", "tool_call_id", "function_call", "audio", "refusal"});
    message.check_known();
  }
  return messages;
}

void read_prompt(RequestFields& fields, TextRequest& request) {
  const char* expected = "a text or a list of token ids";
  const Json* value = fields.find("prompt");
  if (value == nullptr) fields.fail("prompt", expected);
  // Clients that can ask for many texts at once put a single one into a list, too.
  if (value->is_array() && value->size() == 1 && !(*value)[0].is_number()) value = &(*value)[0];
  if (value->is_string()) {
    request.prompt = value->get<std::string>();
    return;
  }
  if (!value->is_array() || value->empty()) fields.fail("prompt", expected);
  if (!(*value)[0].is_number())
    throw ApiError::field("prompt", "expected one prompt, found a list of them");
  for (const Json& id : *value) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) fields.fail("prompt", expected);
    request.ids.push_back(id.get<int32_t>());
  }
}

void read_seed(RequestFields& fields, TextRequest& request) {
  const Json* value = fields.find("seed");
  if (value == nullptr) return;
  if (!value->is_number_integer()) fields.fail("seed", "an integer of 64 bits");
  request.seed = value->is_number_unsigned() ? value->get<uint64_t>()
                                             : static_cast<uint64_t>(value->get<int64_t>());
}

void read_chat(RequestFields& fields, TextRequest& request) {
  request.messages = messages_of(fields);
  const auto tokens = fields.integer("max_completion_tokens", 1, kMostTokens);
  const auto older = fields.integer("max_tokens", 1, kMostTokens);
  if (tokens && older && tokens != older)
    throw ApiError::field("max_tokens", "expected to be max_completion_tokens, or missing");
  request.tokens = tokens ? *tokens : older.value_or(0);
  const bool likelihoods = fields.flag("logprobs").value_or(false);
  const auto likeliest = fields.integer("top_logprobs", 0, 20);
  if (likeliest.value_or(0) > 0 && !likelihoods)
    throw ApiError::field("top_logprobs", "expected logprobs to be true");
  if (likelihoods) request.likeliest = likeliest.value_or(0);
  fields.refuse("response_format", {{"type", "text"}});
  fields.refuse("tool_choice", "none");
  fields.refuse("function_call", "none");
  fields.refuse("modalities", Json::array({"text"}));
  fields.refuse({"tools", "functions", "audio", "prediction", "reasoning_effort", "verbosity",
                 "web_search_options"});
  fields.ignore({"parallel_tool_calls"});
}

void read_completion(RequestFields& fields, TextRequest& request) {
  read_prompt(fields, request);
  request.tokens = fields.integer("max_tokens", 1, kMostTokens).value_or(0);
  request.likeliest = fields.integer("logprobs", 0, 20).value_or(-1);
  fields.refuse("echo", false);
  fields.refuse("suffix", "");
  // As many as are wanted are the best of themselves.
  fields.refuse("best_of", request.count);
}

}  // namespace

TextRequest parse_text_request(std::string_view body, bool chat) {
  Json json;
  try {
    json = parse_json(body, "the request's body");
  } catch (const Error& e) {
    throw ApiError(400, e.what());
  }
  RequestFields fields(json);
  TextRequest request{.chat = chat};
  request.model = fields.text("model").value_or("");
  request.sampling.temperature = fields.number("temperature", 0, 100);
  request.sampling.top_p = fields.number("top_p", 0, 1);
  if (request.sampling.top_p == 0) fields.fail("top_p", "a number above 0 and at most 1");
  request.sampling.top_k = fields.integer("top_k", 0, kMostTokens);
  request.sampling.min_p = fields.number("min_p", 0, 1);
  read_seed(fields, request);
  request.count = fields.integer("n", 1, kMostChoices).value_or(1);
  request.stop = stops_of(fields);
  request.stream = fields.flag("stream").value_or(false);
  if (const Json* options = fields.find("stream_options")) {
    RequestFields of_stream(*options, "stream_options.");
    request.usage = of_stream.flag("include_usage").value_or(false);
    of_stream.ignore({"include_obfuscation"});
    of_stream.check_known();
    if (!request.stream) throw ApiError::field("stream_options", "expected stream to be true");
  }
  if (chat)
    read_chat(fields, request);
  else
    read_completion(fields, request);
  fields.refuse("frequency_penalty", 0);
  fields.refuse("presence_penalty", 0);
  fields.refuse("repetition_penalty", 1);
  fields.refuse({"logit_bias"});
  fields.ignore({"user", "store", "metadata", "service_tier", "safety_identifier",
                 "prompt_cache_key", "prompt_cache_retention"});
  fields.check_known();
  return request;
}

}  // namespace watersic
