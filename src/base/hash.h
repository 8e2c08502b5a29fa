// Names for contents: XXH3, not a cryptographic hash.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace watersic {

// XXH3-64, as 16 hexadecimal digits.
std::string hex_hash(std::string_view content);
std::string hex_hash(std::span<const std::byte> content);

}  // namespace watersic
