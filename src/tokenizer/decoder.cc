#include "tokenizer/decoder.h"

#include <numeric>
#include <utility>

#include "tokenizer/byte_level.h"
#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

namespace watersic {
namespace {

// 0xAB of "<0xAB>", or -1.
int byte_of(std::string_view token) {
  constexpr std::string_view kDigits = "0123456789ABCDEF0123456789abcdef";
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const size_t high = kDigits.find(token[3]), low = kDigits.find(token[4]);
  if (high == std::string_view::npos || low == std::string_view::npos) return -1;
  return static_cast<int>((high % 16) * 16 + low % 16);
}

std::string joined(const std::vector<std::string>& tokens) {
  return std::accumulate(tokens.begin(), tokens.end(), std::string());
}

// Without up to `start` times `mark` at its start and `stop` times at its end.
std::string stripped(std::string_view token, std::string_view mark, int64_t start, int64_t stop) {
  for (; start > 0 && token.starts_with(mark); --start) token.remove_prefix(mark.size());
  for (; stop > 0 && token.ends_with(mark); --stop) token.remove_suffix(mark.size());
  return std::string(token);
}

}  // namespace

TokenDecoder::TokenDecoder(const JsonFields& fields) {
  bool fused = false;
  add(fields, fused);
  // A decoder that there is joins without spaces.
  steps_.emplace_back([](std::vector<std::string>& tokens, bool) { tokens = {joined(tokens)}; });
}

void TokenDecoder::add(const JsonFields& fields, bool& fused) {
  const std::string type = fields.text("type");
  const auto for_each = [&](auto change) {
    steps_.emplace_back([change = std::move(change)](std::vector<std::string>& tokens, bool) {
      for (std::string& token : tokens) token = change(token);
    });
  };
  if (type == "Sequence") {
    for (const JsonFields& part : fields_of(fields, "decoders")) add(part, fused);
  } else if (type == "ByteLevel") {
    for_each([](const std::string& token) { return bytes_of_characters(token); });
    steps_.emplace_back([](std::vector<std::string>& tokens, bool) { tokens = {joined(tokens)}; });
    fused = true;
  } else if (type == "Replace") {
    for_each(
        [pattern = pattern_of(fields), content = fields.text("content")](const std::string& token) {
          return pattern.replace_all(token, content, most_bytes(token.size()));
        });
  } else if (type == "ByteFallback") {
    for_each([](const std::string& token) {
      const int byte = byte_of(token);
      return byte < 0 ? token : std::string(1, static_cast<char>(byte));
    });
  } else if (type == "Fuse") {
    steps_.emplace_back([](std::vector<std::string>& tokens, bool) { tokens = {joined(tokens)}; });
    fused = true;
  } else if (type == "Strip") {
    // Behind a Fuse it strips the whole text, before one each token.
    steps_.emplace_back([mark = fields.text("content"), start = fields.integer("start"),
                         stop = fields.integer("stop"),
                         whole_text = fused](std::vector<std::string>& tokens, bool inside) {
      if (whole_text && inside) return;
      for (std::string& token : tokens) token = stripped(token, mark, start, stop);
    });
    if (fields.text("content").empty()) fields.fail("content", "a character");
  } else if (type == "Metaspace") {
    if (fields.text("replacement").empty()) fields.fail("replacement", "a character");
    const bool prefixed = fields.text("prepend_scheme", "always") != "never" &&
                          fields.boolean("add_prefix_space", true);
    steps_.emplace_back([mark = Regex::literal(fields.text("replacement")), prefixed](
                            std::vector<std::string>& tokens, bool inside) {
      for (std::string& token : tokens) {
        const bool drop = prefixed && !inside && &token == &tokens.front();
        token = mark.replace_all(token, drop ? "" : " ", most_bytes(token.size()));
      }
    });
  } else {
    fields.fail("type", "a decoder that is implemented");
  }
}

std::string TokenDecoder::operator()(std::vector<std::string> tokens) const {
  for (const Step& step : steps_) step(tokens, false);
  if (!steps_.empty()) return tokens.empty() ? "" : std::move(tokens.front());
  std::string text;
  for (const std::string& token : tokens) text += (&token == &tokens.front() ? "" : " ") + token;
  return text;
}

std::string TokenDecoder::inside_text(const std::string& token) const {
  std::vector<std::string> tokens = {token};
  for (const Step& step : steps_) step(tokens, true);
  return std::move(tokens.front());
}

}  // namespace watersic
