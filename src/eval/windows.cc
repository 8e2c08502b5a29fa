#include "eval/windows.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "watersic/error.h"

namespace watersic {
namespace {

// What Python's str.strip leaves nothing of; beyond ASCII, the spaces that UTF-8 text really holds.
bool is_blank(std::string_view row) {
  constexpr std::string_view kWide[] = {"\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80",
                                        "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF",
                                        "\xE2\x81\x9F", "\xE3\x80\x80"};
  while (!row.empty()) {
    const auto c = static_cast<unsigned char>(row[0]);
    if (c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F)) {
      row.remove_prefix(1);
      continue;
    }
    // U+2000 to U+200A
    if (row.size() >= 3 && row.starts_with("\xE2\x80") &&
        static_cast<unsigned char>(row[2]) >= 0x80 && static_cast<unsigned char>(row[2]) <= 0x8A) {
      row.remove_prefix(3);
      continue;
    }
    const auto* wide = std::find_if(std::begin(kWide), std::end(kWide),
                                    [&](auto space) { return row.starts_with(space); });
    if (wide == std::end(kWide)) return false;
    row.remove_prefix(wide->size());
  }
  return true;
}

}  // namespace

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
    const bool blank = is_blank(row);
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
