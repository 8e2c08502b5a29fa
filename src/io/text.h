// UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "watersic/file.h"

namespace watersic {

// The offset of the first byte that is not UTF-8 (overlong forms and surrogates are not), or npos.
size_t find_invalid_utf8(std::string_view text);

// The text with each byte that is not UTF-8 replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

// Bytes that come piece by piece as text that is valid after every piece: a character that is not
// whole yet is held back. All pieces together are replace_invalid_utf8 of all bytes.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  // What is still held back.
  std::string finish();

 private:
  std::string held_;
};

}  // namespace watersic
