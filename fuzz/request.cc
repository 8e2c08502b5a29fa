// Bodies of requests to the server (server/text_request.h).
#include <nlohmann/json.hpp>

#include "fuzz.h"
#include "server/api_error.h"
#include "server/text_request.h"
#include "watersic/error.h"

namespace watersic {

std::vector<std::string> fuzz_seeds() {
  return {
      R"(0{"model": "m", "prompt": "Once", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.1, "n": 2, "best_of": 2, "seed": 1, "stop": ["a", "b"], "logprobs": 3, "echo": false, "stream": true, "stream_options": {"include_usage": true}})",
      R"(0{"prompt": [1, 2, 3], "suffix": "", "logit_bias": {}})",
      R"(1{"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "y"}]}, {"role": "assistant", "content": "z", "refusal": null}], "logprobs": true, "top_logprobs": 4, "max_completion_tokens": 9, "tools": [], "response_format": {"type": "text"}})",
  };
}

void fuzz_input(const std::string& input) {
  if (input.empty()) return;
  try {
    parse_text_request(std::string_view(input).substr(1), input[0] == '1');
  } catch (const ApiError& error) {
    // What the client is told is JSON.
    if (Json::parse(error_json(error).dump()).at("error").at("message").empty()) std::abort();
    throw Error(error.what());
  }
}

std::string fuzz_mutate(const std::string& input, Rng& rng) {
  const std::string kind = input.substr(0, 1), rest = input.empty() ? "" : input.substr(1);
  return kind + (rng.below(3) != 0 ? mutate_json(rest, rng) : mutate_bytes(rest, rng));
}

}  // namespace watersic
