// What an Error says, for tests that look for parts of it.
#pragma once

#include <functional>
#include <string>

#include "watersic/error.h"

namespace watersic {

// "" where `run` throws none.
inline std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace watersic
