// The API without its transport: from a request's body to the text of its answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "chat/chat_template.h"
#include "engine/sampler.h"
#include "server/answer_json.h"
#include "server/api_error.h"
#include "server/metrics.h"
#include "server/scheduler.h"
#include "server/text_request.h"

namespace watersic {

// What the service needs to know of a model.
struct ServedModel {
  struct Prompt {
    std::vector<int32_t> ids;
    std::set<int32_t> ends;  // what ends the answer, besides the model's own
  };
  std::string name;
  int64_t context = 0;  // tokens of a text, its prompt included
  int64_t vocabulary = 0;
  std::set<int32_t> ends;
  std::optional<int32_t> first_token;  // that an empty text begins with
  const Tokenizer* tokenizer = nullptr;
  // Throw Error.
  std::function<Prompt(const std::vector<ChatMessage>&)> chat_prompt;
  std::function<SamplerOptions(const Sampling&)> sampler;
};

// A request that is being answered. Whoever drops it does not want the rest.
class Completion {
 public:
  Completion(TextRequest request, AnswerHead head, std::shared_ptr<ServedAnswer> answer,
             const Tokenizer& tokenizer, Scheduler& scheduler, Metrics& metrics,
             std::chrono::seconds limit);
  ~Completion();
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  bool streams() const { return request_.stream; }
  // What is new, as server-sent events, after waiting for it at most so long.
  std::string events(std::chrono::milliseconds wait);
  // The whole answer; none if it is not there after waiting so long. Throws ApiError.
  std::optional<std::string> whole(std::chrono::milliseconds wait);
  bool done() const { return done_; }  // all was given out

 private:
  std::vector<Delta> take(std::chrono::milliseconds wait);
  std::optional<ApiError> failure() const;
  void finish();

  TextRequest request_;
  AnswerHead head_;
  std::shared_ptr<ServedAnswer> answer_;
  const Tokenizer& tokenizer_;
  Scheduler& scheduler_;
  Metrics& metrics_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), deadline_;
  bool greeted_ = false, begun_ = false, done_ = false;
  std::vector<FinishedChoice> choices_;
};

class Service {
 public:
  Service(ServedModel model, Scheduler& scheduler, Metrics& metrics, std::chrono::seconds limit);

  // Throws ApiError.
  std::unique_ptr<Completion> start(std::string_view body, bool chat);
  std::string models() const;
  std::string model(const std::string& name) const;  // 404 for another's
  std::chrono::seconds limit() const { return limit_; }

 private:
  void check_model(const std::string& name) const;
  ServedModel::Prompt prompt(const TextRequest& request) const;
  AnswerOrder order(const TextRequest& request);

  ServedModel model_;
  Scheduler& scheduler_;
  Metrics& metrics_;
  std::chrono::seconds limit_;  // of a request's time
  int64_t created_;
  std::mutex mutex_;  // of the next
  Rng random_;        // for seeds that are left open, and names
};

}  // namespace watersic
