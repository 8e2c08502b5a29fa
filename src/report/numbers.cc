#include "report/numbers.h"

#include <fmt/format.h>

#include <cmath>

namespace watersic::report {
namespace {

constexpr const char* kNone = "–";

// A true minus sign: as wide as a plus, and no place to break a line at.
std::string with_minus(std::string text) {
  if (!text.empty() && text[0] == '-') text.replace(0, 1, "−");
  return text;
}

}  // namespace

std::string fixed(double value, int decimals) {
  if (!std::isfinite(value)) return kNone;
  std::string text = fmt::format("{:.{}f}", value, decimals);
  // What rounds to zero has no sign.
  if (text.find_first_not_of("-0.") == std::string::npos && text[0] == '-') text.erase(0, 1);
  return with_minus(std::move(text));
}

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return kNone;
  if (value == 0) return "0";
  // As rounded, so that 0.99996 is 1.000 and not 0.9999(6).
  const std::string scientific = fmt::format("{:.{}e}", value, digits - 1);
  const size_t e = scientific.find('e');
  const int exponent = std::stoi(scientific.substr(e + 1));
  if (exponent < -4 || exponent >= 7)
    return with_minus(scientific.substr(0, e) + "e" + std::to_string(exponent));
  return fixed(value, std::max(0, digits - 1 - exponent));
}

std::string signed_fixed(double value, int decimals) {
  const std::string text = fixed(value, decimals);
  const bool zero = text.find_first_not_of("0.") == std::string::npos;
  return value > 0 && !zero && std::isfinite(value) ? "+" + text : text;
}

std::string plain(double value) { return with_minus(fmt::format("{:.6g}", value)); }

std::string bits_word(double bits) {
  const std::string number = plain(std::round(1000 * bits) / 1000);
  return number + (number == "1" ? " bit" : " bits");
}

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = digits[0] == '-' ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, "\u202F");
  }
  return with_minus(std::move(digits));
}

std::string bytes(double value) {
  const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (std::abs(value) >= 1023.5 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return (unit == 0 ? fixed(value, 0) : significant(value, 3)) + "\u00A0" + kUnits[unit];
}

std::string duration(double seconds) {
  if (seconds < 0.9995) return fixed(1000 * seconds, seconds < 0.00995 ? 1 : 0) + "\u00A0ms";
  if (seconds < 9.995) return fixed(seconds, 2) + "\u00A0s";
  if (seconds < 99.95) return fixed(seconds, 1) + "\u00A0s";
  const auto s = std::llround(seconds);
  if (s < 3600) return fmt::format("{}\u00A0min\u00A0{:02}\u00A0s", s / 60, s % 60);
  return fmt::format("{}\u00A0h\u00A0{:02}\u00A0min", s / 3600, s / 60 % 60);
}

std::string percent(double share, int decimals) { return fixed(100 * share, decimals) + "%"; }

}  // namespace watersic::report
