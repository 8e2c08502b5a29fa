// The chat page at /: one text, nothing of it comes from elsewhere.
#pragma once

#include <string_view>

namespace watersic {

// Its Content-Security-Policy: its own style and script, and this server.
inline constexpr const char* kPagePolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

std::string_view chat_page();

}  // namespace watersic
