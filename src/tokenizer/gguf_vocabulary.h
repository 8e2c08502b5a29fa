// A tokenizer as the keys "tokenizer.*" of a GGUF file say it, from tokenizer.json and back. Two
// kinds are known to both: byte-level pair encoding ("gpt2" there), and SentencePiece's with a
// score for each token in place of the merges ("llama").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/gguf_writer.h"
#include "io/json.h"

namespace watersic {

// Contents of a checkpoint's files; empty for a file that is not there.
struct TokenizerTexts {
  std::string tokenizer;      // tokenizer.json
  std::string config;         // tokenizer_config.json
  std::string chat_template;  // chat_template.jinja
};

struct GgufTokenizerOptions {
  int64_t vocabulary = 0;           // of the model: ids that are no token become unused ones
  std::optional<int32_t> bos, eos;  // config.json's, where tokenizer_config.json names none
  std::string pre;                  // "tokenizer.ggml.pre"; empty: found from tokenizer.json
};

// Throws Error, calling the tokenizer `name`, for one that a GGUF file can't say: of another kind,
// or whose pre-tokenizer is not among those we have a name for and `pre` gives none.
void add_gguf_tokenizer(GgufMetadata& metadata, const TokenizerTexts& texts,
                        const GgufTokenizerOptions& options, const std::string& name);

// tokenizer.json and tokenizer_config.json (with the chat template) that give the same ids. Throws
// Error, naming the key, where one is missing, malformed or asks for what is not implemented.
TokenizerTexts tokenizer_from_gguf(const JsonFields& metadata);

// What texts begin and end with. Throws Error for an id that is not below `vocabulary`.
struct GgufSpecialTokens {
  std::optional<int32_t> bos;
  std::vector<int32_t> ends;  // EOS, then the end of a turn and of a message if they are others
};
GgufSpecialTokens gguf_special_tokens(const JsonFields& metadata, int64_t vocabulary);

// Numbers of "tokenizer.ggml.token_type".
enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // special: no part of the text
  kUserDefined = 4,  // added, and a part of the text
  kUnused = 5,
  kByte = 6,
};

// SentencePiece's mark for a space.
inline constexpr const char* kSpaceMark = "\u2581";

}  // namespace watersic
