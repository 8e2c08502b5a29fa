// tokenizer.json from the keys of a GGUF file.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tokenizer/bpe.h"
#include "tokenizer/gguf_pre.h"
#include "tokenizer/gguf_vocabulary.h"
#include "tokenizer/unicode.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr const char* kModel = "tokenizer.ggml.model";
constexpr const char* kTokens = "tokenizer.ggml.tokens";

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<GgufTokenType> types;
  Json ids = Json::object();   // "vocab" of tokenizer.json
  Json added = Json::array();  // "added_tokens"
  std::string unknown;         // empty: there is none
  const std::string& token(int32_t id) const { return tokens[static_cast<size_t>(id)]; }
};

std::string text_of(const Json& value, const JsonFields& metadata, const std::string& key) {
  if (!value.is_string()) metadata.fail(key, "an array of texts");
  return value.get<std::string>();
}

Vocabulary read_vocabulary(const JsonFields& metadata) {
  Vocabulary out;
  const Json& tokens = metadata.array(kTokens);
  if (tokens.empty() || tokens.size() > static_cast<size_t>(kMaxTokenId) + 1)
    metadata.fail(kTokens, fmt::format("1 to {} tokens", kMaxTokenId + 1));
  const std::string types_key = "tokenizer.ggml.token_type";
  Json types = Json::array();
  if (metadata.has(types_key)) types = metadata.array(types_key);
  if (!types.empty() && types.size() != tokens.size())
    metadata.fail(types_key, fmt::format("{} of them", tokens.size()));
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string token = text_of(tokens[id], metadata, kTokens);
    auto type = GgufTokenType::kNormal;
    if (!types.empty()) {
      if (!types[id].is_number_integer() || types[id] < 0 ||
          types[id] > static_cast<int32_t>(GgufTokenType::kByte))
        metadata.fail(types_key, "numbers of types of tokens");
      type = static_cast<GgufTokenType>(types[id].get<int32_t>());
    }
    out.tokens.push_back(token);
    out.types.push_back(type);
    // An id that is nothing: rows that the embedding has to spare.
    if (type == GgufTokenType::kUnused || token.empty()) continue;
    if (out.ids.contains(token))
      metadata.fail(kTokens, fmt::format("each token once (\"{}\" is there twice)", token));
    out.ids[token] = id;
    if (type == GgufTokenType::kUnknown) out.unknown = token;
    if (type != GgufTokenType::kControl && type != GgufTokenType::kUserDefined &&
        type != GgufTokenType::kUnknown)
      continue;
    out.added.push_back({{"id", id},
                         {"content", token},
                         {"single_word", false},
                         {"lstrip", false},
                         {"rstrip", false},
                         {"normalized", false},
                         {"special", type != GgufTokenType::kUserDefined}});
  }
  return out;
}

// SentencePiece's merges: the ways to put a token together from two others, those of the best score
// first. Among equal scores, and of one token, in the order of ids.
Json merges_of_scores(const JsonFields& metadata, const Vocabulary& vocabulary) {
  const std::string key = "tokenizer.ggml.scores";
  const Json& scores = metadata.array(key);
  if (scores.size() != vocabulary.tokens.size())
    metadata.fail(key, fmt::format("{} of them", vocabulary.tokens.size()));
  StringMap<int32_t> ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id)
    if (vocabulary.types[id] == GgufTokenType::kNormal)
      ids.emplace(vocabulary.tokens[id], static_cast<int32_t>(id));
  struct Merge {
    float score;
    int32_t id, left, right;
  };
  std::vector<Merge> merges;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!scores[id].is_number() || !std::isfinite(scores[id].get<float>()))
      metadata.fail(key, "finite numbers");
    if (vocabulary.types[id] != GgufTokenType::kNormal) continue;
    const std::string_view token = vocabulary.tokens[id];
    size_t at = 0;
    if (!token.empty()) next_character(token, at);
    for (; at < token.size(); next_character(token, at)) {
      const auto left = ids.find(token.substr(0, at)), right = ids.find(token.substr(at));
      if (left == ids.end() || right == ids.end()) continue;
      merges.push_back(
          {scores[id].get<float>(), static_cast<int32_t>(id), left->second, right->second});
    }
  }
  std::sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    return std::tie(a.id, a.left, a.right) < std::tie(b.id, b.left, b.right);
  });
  Json out = Json::array();
  for (const Merge& merge : merges) {
    const std::string &left = vocabulary.token(merge.left), &right = vocabulary.token(merge.right);
    if (left.find(' ') != std::string::npos || right.find(' ') != std::string::npos)
      metadata.fail(kTokens, fmt::format("no spaces in tokens (\"{}{}\" has some)", left, right));
    out.push_back(fmt::format("{} {}", left, right));
  }
  return out;
}

void make_byte_level(const JsonFields& metadata, const GgufPre& pre, Json& tokenizer) {
  const std::string key = "tokenizer.ggml.merges";
  for (const Json& merge : metadata.array(key)) text_of(merge, metadata, key);
  tokenizer["model"]["merges"] = metadata.array(key);
  tokenizer["model"]["ignore_merges"] = pre.ignore_merges;
  if (pre.nfc) tokenizer["normalizer"] = {{"type", "NFC"}};
  tokenizer["pre_tokenizer"] = pre_tokenizer_json(pre);
  tokenizer["decoder"] = {{"type", "ByteLevel"},
                          {"add_prefix_space", true},
                          {"trim_offsets", true},
                          {"use_regex", true}};
}

void make_sentencepiece(const JsonFields& metadata, const Vocabulary& vocabulary, Json& tokenizer) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string token = fmt::format("<0x{:02X}>", byte);
    if (!vocabulary.ids.contains(token)) metadata.fail(kTokens, "a token " + token);
  }
  Json& model = tokenizer["model"];
  model["merges"] = merges_of_scores(metadata, vocabulary);
  model["byte_fallback"] = true;
  if (!vocabulary.unknown.empty()) {
    model["unk_token"] = vocabulary.unknown;
    model["fuse_unk"] = true;
  }
  const bool prefix = metadata.boolean("tokenizer.ggml.add_space_prefix", true);
  Json steps = Json::array();
  if (prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kSpaceMark}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpaceMark}});
  tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
  steps = {{{"type", "Replace"}, {"pattern", {{"String", kSpaceMark}}}, {"content", " "}},
           {{"type", "ByteFallback"}},
           {{"type", "Fuse"}}};
  if (prefix) steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  tokenizer["decoder"] = {{"type", "Sequence"}, {"decoders", steps}};
}

// BOS before a text and EOS behind it, where there are to be any.
Json post_processor(const Vocabulary& vocabulary, std::optional<int32_t> before,
                    std::optional<int32_t> after) {
  Json single = Json::array(), pair = Json::array(), special = Json::object();
  const auto add = [&](std::optional<int32_t> id, Json& to, int type) {
    if (!id) return;
    const std::string& token = vocabulary.token(*id);
    to.push_back({{"SpecialToken", {{"id", token}, {"type_id", type}}}});
    special[token] = {{"id", token}, {"ids", {*id}}, {"tokens", {token}}};
  };
  const auto add_text = [&](const char* which, Json& to, int type) {
    add(before, to, type);
    to.push_back({{"Sequence", {{"id", which}, {"type_id", type}}}});
    add(after, to, type);
  };
  add_text("A", single, 0);
  add_text("A", pair, 0);
  add_text("B", pair, 1);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

Json chat_template(const JsonFields& metadata) {
  const std::string key = "tokenizer.chat_template";
  if (!metadata.has(key)) return nullptr;
  if (!metadata.has("tokenizer.chat_templates")) return metadata.text(key);
  Json all = Json::array();
  all.push_back({{"name", "default"}, {"template", metadata.text(key)}});
  for (const Json& name : metadata.array("tokenizer.chat_templates")) {
    const std::string which = text_of(name, metadata, "tokenizer.chat_templates");
    all.push_back({{"name", which}, {"template", metadata.text(fmt::format("{}.{}", key, which))}});
  }
  return all;
}

std::optional<int32_t> token_id(const JsonFields& metadata, const std::string& key,
                                int64_t vocabulary, std::optional<int32_t> otherwise = {}) {
  if (!metadata.has(key)) return otherwise;
  const int64_t id = metadata.integer(key);
  if (id < 0 || id >= vocabulary)
    metadata.fail(key, fmt::format("a token id below {}", vocabulary));
  return static_cast<int32_t>(id);
}

}  // namespace

GgufSpecialTokens gguf_special_tokens(const JsonFields& metadata, int64_t vocabulary) {
  // llama.cpp has defaults for SentencePiece's vocabularies; those for others are of one model.
  const bool defaults = metadata.text(kModel, "") == "llama" && vocabulary > 2;
  GgufSpecialTokens out;
  out.bos = token_id(metadata, "tokenizer.ggml.bos_token_id", vocabulary,
                     defaults ? std::optional(1) : std::nullopt);
  const auto add = [&](std::optional<int32_t> id) {
    if (id && std::find(out.ends.begin(), out.ends.end(), *id) == out.ends.end())
      out.ends.push_back(*id);
  };
  add(token_id(metadata, "tokenizer.ggml.eos_token_id", vocabulary,
               defaults ? std::optional(2) : std::nullopt));
  add(token_id(metadata, "tokenizer.ggml.eot_token_id", vocabulary));
  add(token_id(metadata, "tokenizer.ggml.eom_token_id", vocabulary));
  return out;
}

TokenizerTexts tokenizer_from_gguf(const JsonFields& metadata) {
  const std::string kind = metadata.text(kModel);
  if (kind != "gpt2" && kind != "llama")
    metadata.fail(kModel, "gpt2 or llama (others are not implemented)");
  const Vocabulary vocabulary = read_vocabulary(metadata);
  Json tokenizer = {{"version", "1.0"},
                    {"truncation", nullptr},
                    {"padding", nullptr},
                    {"added_tokens", vocabulary.added},
                    {"normalizer", nullptr},
                    {"pre_tokenizer", nullptr},
                    {"model",
                     {{"type", "BPE"},
                      {"dropout", nullptr},
                      {"unk_token", nullptr},
                      {"continuing_subword_prefix", nullptr},
                      {"end_of_word_suffix", nullptr},
                      {"fuse_unk", false},
                      {"byte_fallback", false},
                      {"ignore_merges", false},
                      {"vocab", vocabulary.ids}}}};
  bool adds_bos = true;
  if (kind == "gpt2") {
    const std::string pre_key = "tokenizer.ggml.pre";
    const GgufPre* pre = find_gguf_pre(metadata.text(pre_key));
    if (pre == nullptr)
      metadata.fail(pre_key,
                    fmt::format("one of {} (others are not implemented)", gguf_pre_names()));
    make_byte_level(metadata, *pre, tokenizer);
    adds_bos = pre->adds_bos;
  } else {
    make_sentencepiece(metadata, vocabulary, tokenizer);
  }

  const auto size = static_cast<int64_t>(vocabulary.tokens.size());
  const GgufSpecialTokens special = gguf_special_tokens(metadata, size);
  const std::optional<int32_t> eos =
      special.ends.empty() ? std::nullopt : std::optional(special.ends.front());
  adds_bos = metadata.boolean("tokenizer.ggml.add_bos_token", adds_bos);
  const bool adds_eos = metadata.boolean("tokenizer.ggml.add_eos_token", false);
  if (adds_bos && !special.bos)
    metadata.fail("tokenizer.ggml.bos_token_id", "a token id, as add_bos_token says");
  if (adds_eos && !eos)
    metadata.fail("tokenizer.ggml.eos_token_id", "a token id, as add_eos_token says");
  tokenizer["post_processor"] = post_processor(vocabulary, adds_bos ? special.bos : std::nullopt,
                                               adds_eos ? eos : std::nullopt);

  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"add_bos_token", adds_bos},
                 {"add_eos_token", adds_eos}};
  const auto name = [&](const char* field, std::optional<int32_t> id) {
    if (!id) return;
    const std::string& token = vocabulary.token(*id);
    if (vocabulary.ids.contains(token)) config[field] = token;
  };
  name("bos_token", special.bos);
  name("eos_token", eos);
  name("pad_token", token_id(metadata, "tokenizer.ggml.padding_token_id", size));
  name("unk_token", token_id(metadata, "tokenizer.ggml.unknown_token_id", size));
  if (const Json chat = chat_template(metadata); !chat.is_null()) config["chat_template"] = chat;
  return {.tokenizer = tokenizer.dump(), .config = config.dump(2) + "\n", .chat_template = ""};
}

}  // namespace watersic
