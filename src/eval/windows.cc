#include "eval/windows.h"

#include <fmt/format.h>

#include "eval/python_text.h"
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
  // llama.cpp asks for two windows at least.
  if (windows.ids.size() < (llama ? 2U : 1U)) {
    throw Error(fmt::format("{}: expected at least {} of {} tokens, found {} tokens", name,
                            llama ? "two windows" : "one window", context, ids.size()));
  }
  return windows;
}

// The datasets library reads line by line, with the line ends, and makes a row of white space
// empty.
std::string wikitext_as_scored(const std::string& raw) {
  std::string text;
  size_t at = 0;
  bool first = true;
  while (at < raw.size()) {
    // Universal newlines: "\r\n" and "\r" are "\n".
    const size_t end = raw.find_first_of("\r\n", at);
    std::string row = raw.substr(at, end == std::string::npos ? std::string::npos : end - at);
    const bool blank = strip(row).empty();
    if (end == std::string::npos) {
      at = raw.size();
    } else {
      row += '\n';
      at = end + (raw.compare(end, 2, "\r\n") == 0 ? 2 : 1);
    }
    if (!first) text += "\n\n";
    first = false;
    if (!blank) text += row;
  }
  return text;
}

}  // namespace watersic
