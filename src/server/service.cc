#include "server/service.h"

#include <fmt/format.h>

#include <ctime>
#include <nlohmann/json.hpp>
#include <random>

#include "io/text.h"
#include "server/api_error.h"

namespace watersic {
namespace {

uint64_t true_random() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

Json model_json(const ServedModel& model, int64_t created) {
  return {{"id", model.name},
          {"object", "model"},
          {"created", created},
          {"owned_by", "watersic"},
          {"context_length", model.context}};
}

}  // namespace

Service::Service(ServedModel model, Scheduler& scheduler, Metrics& metrics,
                 std::chrono::seconds limit)
    : model_(std::move(model)),
      scheduler_(scheduler),
      metrics_(metrics),
      limit_(limit),
      created_(std::time(nullptr)),
      random_(true_random()) {}

std::string Service::models() const {
  const Json list = {{"object", "list"}, {"data", Json::array({model_json(model_, created_)})}};
  return list.dump();
}

std::string Service::model(const std::string& name) const {
  check_model(name);
  return model_json(model_, created_).dump();
}

void Service::check_model(const std::string& name) const {
  if (name == model_.name) return;
  throw ApiError(404,
                 fmt::format("model: expected '{}', the one that is served, found '{}'",
                             model_.name, replace_invalid_utf8(name.substr(0, 100))),
                 "model", "model_not_found");
}

ServedModel::Prompt Service::prompt(const TextRequest& request) const {
  const char* field = request.chat ? "messages" : "prompt";
  ServedModel::Prompt prompt;
  try {
    if (request.chat)
      prompt = model_.chat_prompt(request.messages);
    else if (request.ids.empty())
      prompt.ids = model_.tokenizer->encode(request.prompt);
    else
      prompt.ids = request.ids;
  } catch (const Error& e) {
    throw ApiError::field(field, e.what());
  }
  for (const int32_t id : prompt.ids) {
    if (id >= model_.vocabulary)
      throw ApiError::field(field,
                            fmt::format("expected ids below {}, found {}", model_.vocabulary, id));
  }
  if (prompt.ids.empty() && model_.first_token) prompt.ids.push_back(*model_.first_token);
  if (prompt.ids.empty())
    throw ApiError::field(field, "expected a text: the model has no token to begin with");
  prompt.ends.insert(model_.ends.begin(), model_.ends.end());
  return prompt;
}

AnswerOrder Service::order(const TextRequest& request) {
  ServedModel::Prompt prompt = Service::prompt(request);
  const auto length = static_cast<int64_t>(prompt.ids.size());
  const int64_t left = model_.context - length;
  if (left < std::max<int64_t>(1, request.tokens)) {
    const std::string found = request.tokens > 0
                                  ? fmt::format("{} and {} to write", length, request.tokens)
                                  : std::to_string(length);
    throw ApiError(400,
                   fmt::format("the prompt and what follows it: expected at most {} tokens, the "
                               "context, found {}",
                               model_.context, found),
                   request.chat ? "messages" : "prompt", "context_length_exceeded");
  }
  AnswerOrder order{.order = {}, .count = request.count, .stop = request.stop};
  try {
    order.order.options.sampler = model_.sampler(request.sampling);
  } catch (const Error& e) {
    throw ApiError(400, e.what());
  }
  order.order.prompt = std::move(prompt.ids);
  order.order.options.ends = std::move(prompt.ends);
  constexpr int64_t kCompletionTokens = 16;  // OpenAI's default; a chat ends by itself
  order.order.options.tokens = request.tokens > 0 ? request.tokens
                               : request.chat     ? left
                                                  : std::min(left, kCompletionTokens);
  order.order.likeliest = request.likeliest;
  const std::lock_guard lock(mutex_);
  order.order.seed = request.seed.value_or(random_.bits());
  return order;
}

std::unique_ptr<Completion> Service::start(std::string_view body, bool chat) {
  TextRequest request = parse_text_request(body, chat);
  if (!request.model.empty()) check_model(request.model);
  std::shared_ptr<ServedAnswer> answer = scheduler_.submit(order(request));
  AnswerHead head{.chat = chat,
                  .id = "",
                  .model = model_.name,
                  .created = std::time(nullptr),
                  .likelihoods = request.likeliest >= 0};
  {
    const std::lock_guard lock(mutex_);
    head.id = fmt::format("{}-{:016x}", chat ? "chatcmpl" : "cmpl", random_.bits());
  }
  return std::make_unique<Completion>(std::move(request), std::move(head), std::move(answer),
                                      *model_.tokenizer, scheduler_, metrics_, limit_);
}

}  // namespace watersic
