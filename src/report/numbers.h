// Numbers as people read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace watersic::report {

// So many significant digits, trailing zeros kept: 113.9, 0.01611, 8.609e-5. What is not finite is
// "–".
std::string significant(double value, int digits);
// So many digits after the point; what is not finite is "–".
std::string fixed(double value, int decimals);
std::string signed_fixed(double value, int decimals);  // "+1.25", "−0.30"
// Without trailing zeros: 2, 2.5, 0.001.
std::string plain(double value);

std::string bits_word(double bits);  // 2 bits, 1 bit, 1.987 bits

std::string grouped(int64_t value);                   // 4 423 680, with thin spaces
std::string bytes(double value);                      // 3.10 MiB
std::string duration(double seconds);                 // 38 ms, 21.5 s, 3 min 20 s, 1 h 05 min
std::string percent(double share, int decimals = 1);  // 91.2%

// Empty for none.
template <class T, class F>
std::string if_any(const std::optional<T>& value, F&& form) {
  return value ? form(*value) : std::string();
}

}  // namespace watersic::report
