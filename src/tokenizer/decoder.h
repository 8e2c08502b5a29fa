// How tokenizer.json makes a text of tokens.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "io/json.h"

namespace watersic {

class TokenDecoder {
 public:
  // Joins the tokens with spaces, as Hugging Face does where a file names no decoder.
  TokenDecoder() = default;
  // The field "decoder": ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, Sequence. Throws
  // Error naming any other.
  explicit TokenDecoder(const JsonFields& fields);

  // The bytes of the text. They need not be valid UTF-8: where Hugging Face puts U+FFFD for bytes
  // that are no character, these are the bytes.
  std::string operator()(std::vector<std::string> tokens) const;
  // The bytes that one token stands for inside a text: what the decoder does only at the start or
  // the end of a text is left out.
  std::string inside_text(const std::string& token) const;

 private:
  // `inside`: the tokens stand inside a text.
  using Step = std::function<void(std::vector<std::string>& tokens, bool inside)>;
  void add(const JsonFields& fields, bool& fused);

  std::vector<Step> steps_;
};

}  // namespace watersic
