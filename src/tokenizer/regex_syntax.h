// Oniguruma's regular expressions in PCRE2's words.
#pragma once

#include <string>
#include <string_view>

namespace watersic {

// The PCRE2 pattern (for the options UTF, UCP and MULTILINE) that matches what `pattern` matches
// in Oniguruma's Ruby syntax. Where the two differ in silence, the difference is translated:
//   \s is Unicode's White_Space (PCRE2 adds U+180E), \w has marks and connectors too, \h is a hex
//   digit, \v a vertical tab, (?m) lets the dot match a newline, {,n} starts at 0, \p{Han} is the
//   script without its extensions.
// Throws Error, naming the construct, for what is not translated: nested classes and "&&", POSIX
// classes other than [:punct:], back references, named groups, conditions, the flag x, "{n,m}+".
// Characters newer than PCRE2's Unicode (14 in PCRE2 10.42) have no properties.
std::string pcre2_pattern(std::string_view pattern, const std::string& name);

}  // namespace watersic
