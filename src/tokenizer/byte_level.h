// GPT-2's alphabet: each byte as a printable character, so that a vocabulary of byte strings can
// be written as text. Bytes that are printable in Latin-1 stand for themselves; the others, in
// order, for U+0100 and on.
#pragma once

#include <string>
#include <string_view>

namespace watersic {

// Appends the characters for the bytes of `bytes`.
void append_byte_characters(std::string& out, std::string_view bytes);

// The bytes that the characters of `text` stand for; `text` itself if one of them stands for none.
std::string bytes_of_characters(std::string_view text);

}  // namespace watersic
