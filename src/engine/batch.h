// Texts that a model writes together: each joins and leaves between steps, and gets the tokens that
// it would get alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/likelihood.h"

namespace watersic {

struct WrittenToken {
  int32_t id = 0;
  Likelihoods likelihoods;  // if asked for
};

enum class TextEnd {
  kEnded,    // by one of the tokens that end a text
  kFull,     // as many tokens as were asked for
  kStopped,  // by its writer
  kFailed,   // by an error
};

// Whose text it is. All calls come from the thread that steps.
class Writer {
 public:
  enum class Wish { kGoOn, kWait, kStop };

  virtual ~Writer() = default;
  // Asked before each step. One that waits keeps its place and holds up nobody.
  virtual Wish wish() = 0;
  // False ends the text.
  virtual bool take(const WrittenToken& token) = 0;
  virtual void end(TextEnd how, const std::string& error) = 0;
};

struct TextOrder {
  std::vector<int32_t> prompt;  // not empty
  GenerationOptions options;    // at least one token
  uint64_t seed = 1;
  int64_t likeliest = -1;  // with each token so many of the likeliest; -1: no likelihoods at all
};

class Batch {
 public:
  // All must outlive the batch, which is the engine's only user while it steps.
  Batch(ThreadPool& pool, Engine& engine, const ForwardModel& model, CacheType cache);
  ~Batch();

  // Its prompt begins to be read in the next step.
  void add(TextOrder order, std::shared_ptr<Writer> writer);
  // One token for each text, and some tokens of the prompts that are not read yet: few while others
  // write, so that they need not wait for long. False if there was nothing to do.
  bool step();

  // Ends all texts with an error.
  void fail(const std::string& error);

  int64_t size() const { return static_cast<int64_t>(texts_.size()); }
  int64_t cache_bytes() const;
  // So far.
  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t written_tokens() const { return written_tokens_; }

 private:
  struct Text;
  // What a text does in a step: tokens of its prompt, or the one that it wrote last.
  struct Part {
    Text* text = nullptr;
    std::span<const int32_t> ids;
    bool last = false;  // so that its next token is wanted
  };
  std::vector<Part> writing() const;
  std::vector<Part> reading(int64_t room) const;
  void advance(std::span<const Part> parts);
  void choose(std::span<const Part> parts, const Matrix<float>& logits);
  static void finish(Text& text, TextEnd how, const std::string& error = "");

  ThreadPool& pool_;
  Engine& engine_;
  const ForwardModel& model_;
  CacheType cache_;
  std::vector<std::unique_ptr<Text>> texts_;
  int64_t prompt_tokens_ = 0, written_tokens_ = 0;
};

}  // namespace watersic
