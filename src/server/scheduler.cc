#include "server/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/api_error.h"

namespace watersic {

// Puts a choice's tokens into its request's answer.
class Scheduler::ChoiceWriter final : public Writer {
 public:
  ChoiceWriter(std::shared_ptr<ServedAnswer> answer, int64_t choice, ChoiceText text)
      : answer_(std::move(answer)), choice_(choice), text_(std::move(text)) {}

  bool cancelled() const { return answer_->cancelled(); }

  Wish wish() override {
    if (answer_->cancelled()) return Wish::kStop;
    return answer_->has_room() ? Wish::kGoOn : Wish::kWait;
  }
  bool take(const WrittenToken& token) override {
    answer_->count_token();
    TextPiece piece = text_.push(token);
    if (!piece.empty()) answer_->push({.choice = choice_, .piece = std::move(piece), .finish = ""});
    return !text_.stopped();
  }
  void end(TextEnd how, const std::string& error) override {
    if (how == TextEnd::kFailed) return answer_->fail(error);
    TextPiece piece;
    if (!text_.stopped()) piece = text_.finish();
    answer_->push({.choice = choice_,
                   .piece = std::move(piece),
                   .finish = how == TextEnd::kFull && !text_.stopped() ? "length" : "stop"});
  }

 private:
  std::shared_ptr<ServedAnswer> answer_;
  int64_t choice_;
  ChoiceText text_;
};

Scheduler::Scheduler(ThreadPool& pool, const ForwardModel& model, CacheType cache,
                     const Tokenizer& tokenizer, const SchedulerLimits& limits)
    : tokenizer_(tokenizer),
      limits_(limits),
      engine_(pool, model),
      batch_(pool, engine_, model, cache),
      thread_([this] { run(); }) {}

Scheduler::~Scheduler() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    wake_.notify_one();
  }
  thread_.join();
}

std::shared_ptr<ServedAnswer> Scheduler::submit(const AnswerOrder& order) {
  auto answer =
      std::make_shared<ServedAnswer>(static_cast<int64_t>(order.order.prompt.size()), order.count);
  const std::lock_guard lock(mutex_);
  if (draining_) throw ApiError(503, "the server is ending", "", "server_ending");
  forget_cancelled();
  const int64_t places = std::max<int64_t>(0, limits_.parallel - load_.running);
  if (static_cast<int64_t>(waiting_.size()) + order.count > limits_.waiting + places) {
    throw ApiError(429,
                   fmt::format("{} texts are being written and {} wait, which is all that the "
                               "server takes; try again later",
                               load_.running, waiting_.size()),
                   "", "queue_full");
  }
  for (int64_t i = 0; i < order.count; ++i) {
    TextOrder own = order.order;
    own.seed += static_cast<uint64_t>(i);
    ChoiceText text(tokenizer_, order.stop, own.likeliest >= 0);
    waiting_.push_back({.order = std::move(own),
                        .writer = std::make_shared<ChoiceWriter>(answer, i, std::move(text))});
  }
  wake_.notify_one();
  return answer;
}

void Scheduler::wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  wake_.notify_one();
}

void Scheduler::drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

bool Scheduler::draining() const {
  const std::lock_guard lock(mutex_);
  return draining_;
}

Load Scheduler::load() const {
  const std::lock_guard lock(mutex_);
  Load load = load_;
  load.waiting = static_cast<int64_t>(waiting_.size());
  return load;
}

void Scheduler::forget_cancelled() {
  std::erase_if(waiting_, [](const Waiting& waiting) { return waiting.writer->cancelled(); });
}

void Scheduler::admit() {
  forget_cancelled();
  while (batch_.size() < limits_.parallel && !waiting_.empty()) {
    batch_.add(std::move(waiting_.front().order), std::move(waiting_.front().writer));
    waiting_.pop_front();
  }
  load_.running = batch_.size();
}

void Scheduler::run() {
  // Readers that are slow wake it; this is for those that went away without a word.
  constexpr auto kRest = std::chrono::milliseconds(200);
  std::unique_lock lock(mutex_);
  while (!ending_) {
    admit();
    woken_ = false;
    lock.unlock();
    const auto start = std::chrono::steady_clock::now();
    bool busy = true;
    try {
      busy = batch_.step();
    } catch (const std::exception& e) {  // out of memory beside the engine
      batch_.fail(e.what());
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    lock.lock();
    load_.running = batch_.size();
    load_.cache_bytes = batch_.cache_bytes();
    load_.prompt_tokens = batch_.prompt_tokens();
    load_.written_tokens = batch_.written_tokens();
    if (busy) {
      ++load_.steps;
      load_.step_seconds += took.count();
      continue;
    }
    const auto news = [&] {
      return ending_ || woken_ || (!waiting_.empty() && batch_.size() < limits_.parallel);
    };
    if (batch_.size() > 0)
      wake_.wait_for(lock, kRest, news);
    else
      wake_.wait(lock, news);
  }
  batch_.fail("the server has ended");
  for (const Waiting& waiting : waiting_)
    waiting.writer->end(TextEnd::kFailed, "the server has ended");
  waiting_.clear();
}

}  // namespace watersic
