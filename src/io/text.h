// Plain text files.
#pragma once

#include <filesystem>
#include <string>

namespace watersic {

// The whole file; it must be valid UTF-8 and not empty. Throws Error with the offset of a bad byte.
std::string read_text(const std::filesystem::path& path);

// The offset of the first byte that is not UTF-8 (overlong forms and surrogates are not), or npos.
size_t find_invalid_utf8(std::string_view text);

}  // namespace watersic
