// The little of Unicode that tokenizers and benchmarks need besides regular expressions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace watersic {

// The character that starts at text[at]; at moves behind it. `text` is valid UTF-8.
int32_t next_character(std::string_view text, size_t& at);
void append_character(std::string& text, int32_t character);

// Unicode's White_Space, as Rust's char::is_whitespace.
bool is_white_space(int32_t character);

// Simple case mappings: of one character to one.
int32_t lower_case(int32_t character);
int32_t title_case(int32_t character);

// The same text without the white space at its start or its end.
std::string_view without_leading_space(std::string_view text);
std::string_view without_trailing_space(std::string_view text);

}  // namespace watersic
