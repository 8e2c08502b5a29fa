// What stands behind Model.
#pragma once

#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "base/threads.h"
#include "chat/chat_template.h"
#include "engine/network.h"
#include "engine/sampler.h"
#include "runtime/open_model.h"
#include "watersic/session.h"

namespace watersic {

struct Model::Impl {
  Impl(const std::filesystem::path& path, const OpenOptions& options);

  // Read once, when it is first asked for.
  const Tokenizer& tokenizer() const;
  const ChatTemplate& chat() const;
  // A conversation, and the tokens that end the answer to it.
  struct ChatPrompt {
    std::vector<int32_t> ids;
    std::set<int32_t> ends;
  };
  ChatPrompt chat_prompt(std::span<const ChatMessage> messages) const;
  // As asked for; what is left open, as the model says.
  SamplerOptions sampler(const Sampling& sampling) const;

  const ModelConfig& config() const { return opened->config(); }
  MemoryUse memory(int64_t context, CacheType cache, int64_t texts = 1) const;
  // How many tokens may follow `prompt` ones in a context: as many as are wanted, 0 for the
  // default. Throws Error where there is no room for them.
  int64_t token_limit(int64_t context, size_t prompt, int64_t wanted) const;
  // The longest context, of what is asked for or else of the model's, that fits for `texts` at
  // once.
  int64_t fitting_context(const SessionOptions& options, int64_t texts = 1) const;
  // Throws Error where so many sessions do not fit, and loads the weights if they are not there
  // yet.
  const Network& load(int64_t context, CacheType cache, const ProgressFn& progress,
                      int64_t texts = 1);
  // A layer with its bias, for others than the network.
  std::shared_ptr<const LinearLayer> layer(const std::string& weight) const;

  int64_t machine;  // bytes of memory; 0: not known
  mutable ThreadPool pool;
  WeightFormat format;
  std::unique_ptr<OpenModel> opened;

 private:
  mutable std::mutex mutex_;  // of what follows
  mutable std::optional<Tokenizer> tokenizer_;
  mutable std::optional<ChatTemplate> chat_;
  std::optional<Network> network_;
};

}  // namespace watersic
