// Hugging Face's tokenizer.json: text to token ids and back, with the ids that Hugging Face's
// `tokenizers` gives.
//
// What is implemented: byte-pair encoding, byte-level (GPT-2, Llama 3, Qwen) and SentencePiece-like
// with byte fallback (Llama 2, Mistral), with the normalizers, pre-tokenizers, post-processors and
// decoders that their headers list. A file that asks for anything else that changes ids is refused
// with an Error that names it.
//
// What is ignored, on purpose: the settings "truncation" and "padding" of tokenizer.json, which
// shape batches, and everything in tokenizer_config.json except the names of the tokens that begin
// and end a text, and whether they are put around it where the class is one of Llama's:
// transformers then follows add_bos_token and add_eos_token. Otherwise tokenizer.json's
// post-processor says it.
//
// The Unicode properties in patterns and the normalization forms are those of PCRE2 and utf8proc;
// characters assigned after their Unicode version (14 on Debian 12) may be cut otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace watersic {

struct PostProcessor;

// Copies share what was loaded. All member functions are const and may run at once on many threads.
class Tokenizer {
 public:
  // MODEL_DIR/tokenizer.json and, if there, MODEL_DIR/tokenizer_config.json. Throws Error naming
  // the file and the entry that is missing, broken or not implemented.
  static Tokenizer load(const std::filesystem::path& model_dir);
  // The same from memory; the config may be empty. `name` is what errors call it.
  static Tokenizer parse(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                         const std::string& name);

  // Throws Error where the text is not UTF-8.
  std::vector<int32_t> encode(std::string_view utf8, bool add_special_tokens = true) const;
  // The bytes of the text; they may be cut inside a UTF-8 character. Ids that are no token (models
  // often have rows to spare) are skipped, as Hugging Face does, and with `skip_special` so are
  // special tokens.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;
  // The bytes that a token stands for inside a text; none for special tokens and for ids that are
  // no token. Throws no Error.
  std::string token_bytes(int32_t id) const;

  // One more than the largest id.
  int64_t vocabulary_size() const;
  std::optional<int32_t> id(std::string_view token) const;
  // The token that tokenizer_config.json calls bos_token, else what encode() puts first if that is
  // a special token.
  std::optional<int32_t> bos_id() const;
  // The token that tokenizer_config.json calls eos_token.
  std::optional<int32_t> eos_id() const;
  // What encode() with special tokens puts around a text.
  const PostProcessor& around() const;
  // Whether that begins with bos_id().
  bool adds_bos() const;

 private:
  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  static Tokenizer build(std::string_view tokenizer_json, const std::string& tokenizer_name,
                         std::string_view config_json, const std::string& config_name);

  std::shared_ptr<const Parts> parts_;
};

}  // namespace watersic
