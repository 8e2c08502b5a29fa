// What tokenizer.json does to a text before it is cut.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace watersic {

class Normalizer {
 public:
  // Changes nothing.
  Normalizer() = default;
  // The field "normalizer": NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, Sequence.
  // Throws Error naming any other.
  explicit Normalizer(const JsonFields& fields);

  struct Result {
    std::string text;
    bool cut_at_start = false;  // its beginning does not come from the input's beginning
    size_t most = 0;            // bytes that `text` may have
  };
  // `text` is valid UTF-8, and so is what comes back. Throws Error where that is far too long.
  Result operator()(std::string_view text) const;

 private:
  using Step = std::function<void(Result&)>;
  void add(const JsonFields& fields);

  std::vector<Step> steps_;
};

}  // namespace watersic
