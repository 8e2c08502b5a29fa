#include "base/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace watersic {

std::string hex_hash(std::span<const std::byte> content) {
  return fmt::format("{:016x}", XXH3_64bits(content.data(), content.size()));
}

std::string hex_hash(std::string_view content) {
  return hex_hash(std::as_bytes(std::span(content)));
}

}  // namespace watersic
