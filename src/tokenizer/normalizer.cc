#include "tokenizer/normalizer.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

namespace watersic {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

struct Free {
  void operator()(utf8proc_uint8_t* p) const { std::free(p); }  // NOLINT: utf8proc allocates so
};

std::string unicode_form(std::string_view text, int form) {
  if (is_ascii(text)) return std::string(text);
  utf8proc_uint8_t* raw = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &raw,
                                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form));
  const std::unique_ptr<utf8proc_uint8_t, Free> mapped(raw);
  if (length < 0)
    throw Error(fmt::format("Unicode normalization failed: {}", utf8proc_errmsg(length)));
  return {reinterpret_cast<const char*>(mapped.get()), static_cast<size_t>(length)};
}

// Character by character, as Rust's char::to_lowercase: no final sigma.
std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const int32_t c = next_character(text, at);
    if (c == 0x130) {  // the one capital that has two characters in lower case
      out += "i\u0307";
    } else {
      append_character(out, utf8proc_tolower(c));
    }
  }
  return out;
}

}  // namespace

Normalizer::Normalizer(const JsonFields& fields) { add(fields); }

void Normalizer::add(const JsonFields& fields) {
  const std::string type = fields.text("type");
  const auto form = [&](int options) {
    steps_.emplace_back([options](Result& r) { r.text = unicode_form(r.text, options); });
  };
  if (type == "Sequence") {
    for (const JsonFields& part : fields_of(fields, "normalizers")) add(part);
  } else if (type == "NFC") {
    form(UTF8PROC_COMPOSE);
  } else if (type == "NFD") {
    form(UTF8PROC_DECOMPOSE);
  } else if (type == "NFKC") {
    form(UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  } else if (type == "NFKD") {
    form(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  } else if (type == "Lowercase") {
    steps_.emplace_back([](Result& r) { r.text = lowercase(r.text); });
  } else if (type == "Strip") {
    const bool left = fields.boolean("strip_left", true);
    const bool right = fields.boolean("strip_right", true);
    steps_.emplace_back([left, right](Result& r) {
      std::string_view text = r.text;
      if (left) text = without_leading_space(text);
      r.cut_at_start |= text.size() < r.text.size();
      if (right) text = without_trailing_space(text);
      r.text = std::string(text);
    });
  } else if (type == "Prepend") {
    steps_.emplace_back([prefix = fields.text("prepend")](Result& r) {
      if (!r.text.empty()) r.text.insert(0, prefix);
    });
  } else if (type == "Replace") {
    steps_.emplace_back([pattern = pattern_of(fields), content = fields.text("content")](
                            Result& r) { r.text = pattern.replace_all(r.text, content, r.most); });
  } else {
    fields.fail("type", "a normalizer that is implemented");
  }
}

Normalizer::Result Normalizer::operator()(std::string_view text) const {
  Result result{.text = std::string(text), .most = most_bytes(text.size())};
  for (const Step& step : steps_) {
    step(result);
    check_growth(result.text.size(), result.most);
  }
  return result;
}

}  // namespace watersic
