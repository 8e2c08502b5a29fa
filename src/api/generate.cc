#include "watersic/generate.h"

#include <algorithm>
#include <chrono>

#include "api/model_impl.h"
#include "watersic/error.h"

namespace watersic {

GenerateResult generate(const std::filesystem::path& path, const std::string& text,
                        const GenerateOptions& options, const TextFn& on_text,
                        const ProgressFn& progress) {
  const auto start = std::chrono::steady_clock::now();
  if (!options.system.empty() && !options.chat)
    throw Error("a system message has a meaning in a chat only");
  const Model model(path, {.threads = options.threads, .weights = options.weights});
  const std::vector<int32_t> prompt =
      options.chat ? model.chat_tokens(text, options.system) : model.tokenize(text);
  // A text that is empty begins with the model's first token.
  const size_t count = std::max<size_t>(1, prompt.size());
  const int64_t limit = model.impl().token_limit(model.info().context, count, options.tokens);
  Session session(model,
                  {.context = static_cast<int64_t>(count) + limit,
                   .cache = options.cache,
                   .system = options.system,
                   .sampling = options.sampling},
                  progress);
  const std::chrono::duration<double> loading = std::chrono::steady_clock::now() - start;
  if (!options.chat) session.append(prompt);
  GenerateResult result =
      options.chat ? session.chat(text, limit, on_text) : session.generate(limit, on_text);
  result.load_seconds = loading.count();
  return result;
}

}  // namespace watersic
