// UTF-8.
#pragma once

#include <string_view>

#include "watersic/file.h"

namespace watersic {

// The offset of the first byte that is not UTF-8 (overlong forms and surrogates are not), or npos.
size_t find_invalid_utf8(std::string_view text);

// The text with each byte that is not UTF-8 replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

}  // namespace watersic
