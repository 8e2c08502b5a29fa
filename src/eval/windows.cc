#include "eval/windows.h"

#include <fmt/format.h>

#include "watersic/error.h"

namespace watersic {

ScoredWindows scored_windows(std::span<const int32_t> ids, Convention convention, int64_t context,
                             std::optional<int32_t> bos, const std::string& name) {
  const bool llama = convention == Convention::kLlamaCpp;
  if (context < (llama ? 4 : 2))
    throw Error(
        fmt::format("context: expected at least {} tokens, found {}", llama ? 4 : 2, context));
  ScoredWindows windows{.length = context, .first = llama ? context / 2 : 0};
  const auto size = static_cast<size_t>(context);
  for (size_t start = 0; start + size <= ids.size(); start += size) {
    windows.ids.emplace_back(ids.begin() + static_cast<int64_t>(start),
                             ids.begin() + static_cast<int64_t>(start + size));
    if (llama && bos) windows.ids.back().front() = *bos;
  }
  if (windows.ids.empty()) {
    throw Error(fmt::format("{}: expected at least one window of {} tokens, found {} tokens", name,
                            context, ids.size()));
  }
  return windows;
}

}  // namespace watersic
