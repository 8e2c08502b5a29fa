// A model that is opened once, and sessions in which it reads and writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "watersic/generate.h"
#include "watersic/matrix.h"
#include "watersic/message.h"
#include "watersic/progress.h"
#include "watersic/running.h"
#include "watersic/scoring.h"

namespace watersic {

struct OpenOptions {
  int threads = 0;  // 0: all that the machine has
  WeightFormat weights = WeightFormat::kPacked;
};

struct SessionOptions {
  // Tokens at most; 0: the model's context, or half, a quarter, ... of it where the memory has no
  // room for its keys and values.
  int64_t context = 0;
  CacheType cache = CacheType::kFloat16;
  std::string system;  // what the system says first in a chat, if not empty
  Sampling sampling;
};

struct ModelInfo {
  std::string name, architecture;
  int64_t context = 0, vocabulary = 0;
  int64_t weight_bytes = 0;            // in memory
  std::optional<int32_t> first_token;  // what a text begins with: BOS, else an end-of-text token
  std::vector<int32_t> ends;           // tokens that end a text
};

struct TensorInfo {
  std::string name;            // "model.layers.0.self_attn.q_proj.weight"
  int64_t rows = 0, cols = 0;  // outputs, inputs
  bool is_vector = false;      // a norm, a bias: one dimension, of cols
};

// May be used by many threads at once; what they compute takes turns on the model's threads.
class Model {
 public:
  // A checkpoint (a folder or a GGUF file) or a .wsic file. The weights are loaded by the first
  // session. Throws Error.
  explicit Model(const std::filesystem::path& path, const OpenOptions& options = {});
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  ModelInfo info() const;
  std::string model_id() const;  // names the content; of a checkpoint, all of it is read
  // As Hugging Face's encode and decode; `special`: with the tokens that the tokenizer adds.
  std::vector<int32_t> tokenize(const std::string& text, bool special = true) const;
  std::string detokenize(std::span<const int32_t> ids) const;
  // A conversation that begins with what a user says, up to where the model is to answer. Throws
  // Error where the model has no chat template.
  std::vector<int32_t> chat_tokens(const std::string& said, const std::string& system = "") const;
  std::vector<int32_t> chat_tokens(std::span<const ChatMessage> messages) const;
  // The text of those, special tokens in it; `open`: up to where the model is to answer, else all
  // that is said.
  std::string chat_text(std::span<const ChatMessage> messages, bool open = true) const;
  // What a session takes, weights included.
  MemoryUse memory(const SessionOptions& options = {}) const;

  // A pass over tokens, with weights as OpenOptions says; loaded if they are not yet. Throws Error
  // where there are more tokens than the model's context has, or ids that are none.
  //
  // ids.size() x vocabulary: row t is what the model expects behind the first t + 1 tokens.
  Matrix<float> logits(std::span<const int32_t> ids, const ProgressFn& progress = {}) const;
  // Of each sequence's scored tokens. What neighbours begin with alike is computed once.
  std::vector<std::vector<ScoredToken>> score(std::span<const ScoredSequence> sequences,
                                              const ProgressFn& progress = {}) const;
  // exp of the mean of -ln p, as `evaluate` defines it (convention hf), in windows of `context`
  // tokens (0: 2048, at most the model's); of a text that is shorter, in one window.
  double perplexity(const std::string& text, int64_t context = 0,
                    const ProgressFn& progress = {}) const;

  // The tensors as a checkpoint of this function has them, in the order of a pass. Of a file whose
  // layers were quantized in a basis of their own the layers stand in that basis, and embedding,
  // norms and head fit them (docs/algorithm.md, "The principal basis").
  std::vector<TensorInfo> tensors() const;
  // One of them, decoded. Throws Error where there is none of the name.
  Matrix<float> tensor(const std::string& name) const;
  // What the model carries as "config.json", which fits tensors(), "tokenizer.json", ...; none
  // where it has no such file.
  std::optional<std::string> text(const std::string& file) const;

  struct Impl;  // the library's own
  Impl& impl() const { return *impl_; }

 private:
  friend class Session;  // these two keep it alive
  friend class ModelLayer;
  std::shared_ptr<Impl> impl_;
};

// A text that grows: its tokens, what the model remembers of them, and how the next one is chosen.
// Keeps the model alive. One thread at a time; sessions of one model may be on different threads.
class Session {
 public:
  // Loads the weights if no session has yet. Throws Error, before anything is loaded, where weights
  // and cache do not fit into the machine's memory.
  explicit Session(const Model& model, const SessionOptions& options = {},
                   const ProgressFn& progress = {});
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Goes on with a text or tokens; they are read when something is generated.
  void append(const std::string& text);
  void append(std::span<const int32_t> ids);
  // Writes on, `tokens` at most (0: 256, or what the context leaves if that is less), until the
  // model ends the text.
  GenerateResult generate(int64_t tokens = 0, const TextFn& on_text = {});
  // Says something as a user, and lets the model answer, which is then part of the conversation.
  // The conversation is all that the session holds.
  GenerateResult chat(const std::string& said, int64_t tokens = 0, const TextFn& on_text = {});
  // Lets the model answer a whole conversation, in place of what the session holds; what both begin
  // with is not read again. SessionOptions::system is not put before it.
  GenerateResult chat(std::vector<ChatMessage> messages, int64_t tokens = 0,
                      const TextFn& on_text = {});
  // Begins anew, the seed included.
  void reset();

  const std::vector<int32_t>& tokens() const;  // all so far
  int64_t context() const;
  int64_t cache_bytes() const;  // allocated so far

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace watersic
