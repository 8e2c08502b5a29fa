// What a request is refused with, in the form of OpenAI's API.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>

#include "io/json.h"

namespace watersic {

class ApiError : public std::runtime_error {
 public:
  ApiError(int http_status, const std::string& message, std::string error_param = "",
           std::string error_code = "")
      : std::runtime_error(message),
        status(http_status),
        param(std::move(error_param)),
        code(std::move(error_code)) {}

  // A field of the request that cannot be taken as it is.
  static ApiError field(const std::string& name, const std::string& what) {
    return {400, name + ": " + what, name};
  }

  int status;               // of HTTP
  std::string param, code;  // may be empty
};

// {"error": {"message", "type", "param", "code"}}
Json error_json(const ApiError& error);

}  // namespace watersic
