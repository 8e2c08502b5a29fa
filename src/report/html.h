// Markup in which every string that comes from outside is escaped, because there is no other way
// in.
#pragma once

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace watersic::report {

// For text and for attributes in quotes: & < > " ' as entities, control characters (HTML knows only
// tab and newline) as U+FFFD.
std::string escape(std::string_view text);

// The first `bytes` of a text in UTF-8, or a few less: no character is cut.
std::string_view head_of(std::string_view text, size_t bytes);

class Html {
 public:
  Html() = default;
  // Markup of our own: a constant, never text that was read.
  template <size_t N>
  explicit Html(const char (&markup)[N]) : markup_(markup) {}

  // `format` is markup with {} for the arguments: numbers as fmt writes them, Html as it is, and
  // all strings escaped.
  template <class... Args>
  Html& add(std::string_view format, const Args&... args) {
    const auto append = [&](const auto&... values) {
      fmt::vformat_to(std::back_inserter(markup_), format, fmt::make_format_args(values...));
    };
    append(ready(args)...);
    return *this;
  }
  Html& add(const Html& other) {
    markup_ += other.markup_;
    return *this;
  }
  // A constant of our own whose braces are no placeholders: a style sheet, a script.
  Html& add_verbatim(std::string_view markup) {
    markup_ += markup;
    return *this;
  }

  bool empty() const { return markup_.empty(); }
  const std::string& markup() const { return markup_; }

 private:
  template <class T>
  static auto ready(const T& value) {
    if constexpr (std::is_same_v<T, Html>) {
      return std::string_view(value.markup_);
    } else if constexpr (std::is_arithmetic_v<T>) {
      return value;
    } else {
      return escape(value);
    }
  }

  std::string markup_;
};

template <class... Args>
Html html(std::string_view format, const Args&... args) {
  return std::move(Html().add(format, args...));
}

}  // namespace watersic::report
