// The few methods of Python's str by which benchmarks define their prompts.
#pragma once

#include <string>
#include <string_view>

namespace watersic {

// All texts are valid UTF-8.

// text.strip(): without the white space at both ends. Beyond Unicode's, Python counts the
// separators U+001C to U+001F.
std::string_view strip(std::string_view text);
std::string_view strip_end(std::string_view text);

// text.capitalize(): the first character in title case, all others in lower case.
std::string capitalize(std::string_view text);

// text.replace(from, to), from left to right.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

// len(text): characters.
int64_t length(std::string_view text);

}  // namespace watersic
