#include "eval/python_text.h"

#include <algorithm>

#include "tokenizer/unicode.h"

namespace watersic {

std::string_view strip_end(std::string_view text) {
  while (!text.empty()) {
    const auto last = static_cast<unsigned char>(text.back());
    const std::string_view shorter = last >= 0x1C && last <= 0x1F ? text.substr(0, text.size() - 1)
                                                                  : without_trailing_space(text);
    if (shorter.size() == text.size()) break;
    text = shorter;
  }
  return text;
}

std::string_view strip(std::string_view text) {
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    const std::string_view shorter =
        first >= 0x1C && first <= 0x1F ? text.substr(1) : without_leading_space(text);
    if (shorter.size() == text.size()) break;
    text = shorter;
  }
  return strip_end(text);
}

std::string capitalize(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const bool first = at == 0;
    const int32_t c = next_character(text, at);
    append_character(out, first ? title_case(c) : lower_case(c));
  }
  return out;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t found = text.find(from); found != std::string_view::npos; found = text.find(from)) {
    out += text.substr(0, found);
    out += to;
    text.remove_prefix(found + from.size());
  }
  return out += text;
}

int64_t length(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace watersic
