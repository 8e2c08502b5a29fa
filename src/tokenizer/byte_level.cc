#include "tokenizer/byte_level.h"

#include <array>

#include "tokenizer/unicode.h"

namespace watersic {
namespace {

struct Alphabet {
  std::array<std::string, 256> character;         // of a byte
  std::array<int, 0x100 + 68> byte_of_character;  // or -1

  Alphabet() {
    byte_of_character.fill(-1);
    int32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const int32_t c = printable ? byte : next++;
      append_character(character[byte], c);
      byte_of_character[c] = byte;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

void append_byte_characters(std::string& out, std::string_view bytes) {
  const Alphabet& letters = alphabet();
  for (const char byte : bytes) out += letters.character[static_cast<unsigned char>(byte)];
}

std::string bytes_of_characters(std::string_view text) {
  const Alphabet& letters = alphabet();
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const auto c = static_cast<size_t>(next_character(text, at));
    if (c >= letters.byte_of_character.size() || letters.byte_of_character[c] < 0)
      return std::string(text);
    bytes += static_cast<char>(letters.byte_of_character[c]);
  }
  return bytes;
}

}  // namespace watersic
