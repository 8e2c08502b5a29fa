// llama.cpp has the patterns that cut a text before byte-pair encoding in its code; a GGUF file
// names one ("tokenizer.ggml.pre"). These are the names that the models we know of need, with what
// stands for them in tokenizer.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace watersic {

struct GgufPre {
  std::string_view name;
  std::vector<std::string_view> patterns;  // one after the other, each cuts what the last has left
  bool ignore_merges = false;              // a word that is a token is that token
  bool adds_bos = false;                   // unless the file says otherwise
  bool nfc = false;                        // the models of this name come with Unicode's NFC
};

// By its name, or by another name that llama.cpp has for the same; null where it is not known.
const GgufPre* find_gguf_pre(std::string_view name);

// The one that does what this tokenizer.json's pre-tokenizer and model say; null where none does.
const GgufPre* match_gguf_pre(const JsonFields& tokenizer);

// "llama-bpe, qwen2, ..."
std::string gguf_pre_names();

// The pre-tokenizer in tokenizer.json, for byte-level encoding.
Json pre_tokenizer_json(const GgufPre& pre);

}  // namespace watersic
