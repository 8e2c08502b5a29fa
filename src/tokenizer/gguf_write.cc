// tokenizer.json to the keys of a GGUF file.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/gguf_pre.h"
#include "tokenizer/gguf_vocabulary.h"
#include "tokenizer/pattern.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"
#include "watersic/error.h"

namespace watersic {
namespace {

struct WrittenVocabulary {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;

  void set(int32_t id, const std::string& token, GgufTokenType type) {
    tokens[static_cast<size_t>(id)] = token;
    types[static_cast<size_t>(id)] = static_cast<int32_t>(type);
  }
};

// All tokens of tokenizer.json, and a name for each id that has none: llama.cpp wants as many
// tokens as the embedding has rows, each another.
WrittenVocabulary read_vocabulary(const JsonFields& tokenizer, const Bpe& model, int64_t size) {
  WrittenVocabulary out;
  const auto count = static_cast<size_t>(size);
  out.tokens.resize(count);
  out.types.resize(count, static_cast<int32_t>(GgufTokenType::kUnused));
  const auto check = [&](size_t id, const std::string& token) {
    if (id >= count)
      tokenizer.fail("model", fmt::format("ids below the model's vocabulary of {} (\"{}\" has {})",
                                          size, token, id));
  };
  for (size_t id = 0; id < model.tokens().size(); ++id) {
    const std::string& token = model.tokens()[id];
    if (token.empty()) continue;
    check(id, token);
    out.set(static_cast<int32_t>(id), token, GgufTokenType::kNormal);
  }
  for (const AddedToken& token : read_added_tokens(tokenizer, model)) {
    check(static_cast<size_t>(token.id), token.content);
    out.set(token.id, token.content,
            token.special ? GgufTokenType::kControl : GgufTokenType::kUserDefined);
  }
  std::set<std::string_view> seen;
  for (size_t id = 0; id < count; ++id) {
    if (out.tokens[id].empty()) out.tokens[id] = fmt::format("[PAD{}]", id);
    if (!seen.insert(out.tokens[id]).second)
      tokenizer.fail(
          "added_tokens",
          fmt::format("no two tokens \"{}\" (a GGUF file holds each once)", out.tokens[id]));
  }
  return out;
}

// How a SentencePiece-like tokenizer treats spaces; none for one that is not like it.
struct Spaces {
  bool prefix = false;  // a text begins with one
  bool splits = false;  // no token reaches over one
};
std::optional<Spaces> sentencepiece_spaces(const JsonFields& tokenizer) {
  Spaces spaces;
  bool marked = false;
  if (tokenizer.has("normalizer")) {
    const JsonFields normalizer = tokenizer.object("normalizer");
    std::vector<JsonFields> steps = {normalizer};
    if (normalizer.text("type") == "Sequence") steps = fields_of(normalizer, "normalizers");
    for (const JsonFields& step : steps) {
      const std::string type = step.text("type");
      if (type == "Prepend" && !marked && step.text("prepend") == kSpaceMark) {
        spaces.prefix = true;
      } else if (type == "Replace" && step.object("pattern").text("String", "") == " " &&
                 step.text("content") == kSpaceMark) {
        marked = true;
      } else {
        return std::nullopt;
      }
    }
  }
  if (tokenizer.has("pre_tokenizer")) {
    const JsonFields pre = tokenizer.object("pre_tokenizer");
    if (pre.text("type") != "Metaspace" || pre.text("replacement") != kSpaceMark)
      return std::nullopt;
    spaces.prefix |=
        pre.text("prepend_scheme", "always") != "never" && pre.boolean("add_prefix_space", true);
    spaces.splits = pre.boolean("split", true);
    marked = true;
  }
  return marked ? std::optional(spaces) : std::nullopt;
}

std::pair<std::string, std::string> merge_of(const Json& merge) {
  if (merge.is_array()) return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  const auto text = merge.get<std::string>();
  const size_t space = text.find(' ');
  return {text.substr(0, space), text.substr(space + 1)};
}
bool is_comment(const Json& merge) {
  return merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version");
}

// How often `token` can be cut into two tokens.
int count_cuts(const std::string& token, const Bpe& model) {
  int count = 0;
  size_t at = 0;
  for (next_character(token, at); at < token.size(); next_character(token, at)) {
    const std::string_view text = token;
    if (model.id(text.substr(0, at)) && model.id(text.substr(at))) ++count;
  }
  return count;
}

// llama.cpp joins those neighbours whose joint token has the highest score, as SentencePiece does;
// tokenizer.json has SentencePiece's merges, in the order of these scores. So the rank of a token
// among the merges is its score, if the merges are all that the scores allow.
std::vector<float> scores_of(const JsonFields& tokenizer, const Bpe& model,
                             WrittenVocabulary& vocabulary, bool splits) {
  const JsonFields fields = tokenizer.object("model");
  const auto fail = [&](const std::string& token) {
    fields.fail("merges", fmt::format("the merges of a SentencePiece model, which its scores give "
                                      "(those of \"{}\" are others)",
                                      token));
  };
  std::vector<float> scores(vocabulary.tokens.size());
  std::vector<int> cuts(scores.size());
  int32_t last = -1;
  float score = 0;
  for (const Json& merge : fields.array("merges")) {
    if (is_comment(merge)) continue;
    const auto [left, right] = merge_of(merge);
    const std::string joint = left + right;
    const int32_t id = model.id(joint).value_or(0);  // a token: Bpe has seen to it
    if (id != last) {
      if (cuts[id] > 0) fail(joint);  // it was there before, with others in between
      scores[id] = score -= 1;
    }
    last = id;
    ++cuts[id];
  }
  for (size_t id = 0; id < scores.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    auto& type = vocabulary.types[id];
    if (type != static_cast<int32_t>(GgufTokenType::kNormal)) continue;
    if (token.size() == 6 && token.starts_with("<0x")) {
      type = static_cast<int32_t>(GgufTokenType::kByte);
      continue;
    }
    if (cuts[id] != count_cuts(token, model)) fail(token);
    if (splits && token.find(kSpaceMark, 1) != std::string::npos)
      fields.fail(
          "vocab",
          fmt::format("no token with a space inside, as the text is cut at spaces (\"{}\" is one)",
                      token));
    if (cuts[id] == 0) scores[id] = score -= 1;
  }
  return scores;
}

void add_merges(GgufMetadata& metadata, const JsonFields& model) {
  std::vector<std::string> merges;
  for (const Json& merge : model.array("merges")) {
    if (is_comment(merge)) continue;
    const auto [left, right] = merge_of(merge);
    if (left.find(' ') != std::string::npos || right.find(' ') != std::string::npos)
      model.fail("merges",
                 fmt::format("no spaces in tokens (\"{}\" and \"{}\" have some)", left, right));
    merges.push_back(fmt::format("{} {}", left, right));
  }
  metadata.add_texts("tokenizer.ggml.merges", merges);
}

// Whether a pre-tokenizer is, or contains, the one that makes bytes characters.
bool is_byte_level(const JsonFields& pre) {
  if (pre.text("type") == "Sequence") {
    const auto parts = fields_of(pre, "pretokenizers");
    return std::any_of(parts.begin(), parts.end(), is_byte_level);
  }
  return pre.text("type") == "ByteLevel";
}

// "tokenizer.ggml.pre", and that nothing else is done to a text than it says.
std::string pre_name(const JsonFields& tokenizer, const std::string& given) {
  if (!tokenizer.has("pre_tokenizer") || !is_byte_level(tokenizer.object("pre_tokenizer")))
    tokenizer.fail("pre_tokenizer",
                   "one with ByteLevel, or a SentencePiece-like tokenizer with byte_fallback (a "
                   "GGUF file can't say others)");
  if (tokenizer.has("normalizer") && tokenizer.object("normalizer").text("type") != "NFC")
    tokenizer.fail("normalizer", "null or NFC (a GGUF file can't say others)");
  if (!given.empty()) return given;
  const GgufPre* pre = match_gguf_pre(tokenizer);
  if (pre == nullptr) {
    tokenizer.fail(
        "pre_tokenizer",
        fmt::format("the pre-tokenizer, with the model's ignore_merges, of one of {}; if llama.cpp "
                    "knows this one by another name, give that name as pre",
                    gguf_pre_names()));
  }
  return std::string(pre->name);
}

void add_special_tokens(GgufMetadata& metadata, const Tokenizer& tokenizer, const JsonFields& json,
                        const TokenizerTexts& texts, const GgufTokenizerOptions& options) {
  const std::optional<int32_t> bos = tokenizer.bos_id() ? tokenizer.bos_id() : options.bos;
  const std::optional<int32_t> eos = tokenizer.eos_id() ? tokenizer.eos_id() : options.eos;
  const auto add = [&](const char* key, std::optional<int32_t> id) {
    if (id) metadata.add_number(key, static_cast<uint32_t>(*id));
  };
  add("tokenizer.ggml.bos_token_id", bos);
  add("tokenizer.ggml.eos_token_id", eos);
  std::optional<int32_t> unknown;
  const JsonFields model = json.object("model");
  if (model.has("unk_token")) unknown = tokenizer.id(model.text("unk_token"));
  if (!texts.config.empty()) {
    const Json config = parse_json(texts.config, json.name() + ": tokenizer_config.json");
    const JsonFields fields(config, json.name() + ": tokenizer_config.json");
    const auto named = [&](const char* field) -> std::optional<int32_t> {
      if (!fields.has(field)) return std::nullopt;
      return tokenizer.id(config[field].is_object() ? fields.object(field).text("content")
                                                    : fields.text(field));
    };
    add("tokenizer.ggml.padding_token_id", named("pad_token"));
    if (!unknown) unknown = named("unk_token");
  }
  add("tokenizer.ggml.unknown_token_id", unknown);
  const PostProcessor& around = tokenizer.around();
  const auto is_one = [](const std::vector<int32_t>& ids, std::optional<int32_t> id) {
    return ids.empty() || (ids.size() == 1 && ids.front() == id);
  };
  if (!is_one(around.before, bos) || !is_one(around.after, eos))
    json.fail("post_processor",
              "nothing around a text but the BOS before it and the EOS behind it");
  metadata.add_flag("tokenizer.ggml.add_bos_token", !around.before.empty());
  metadata.add_flag("tokenizer.ggml.add_eos_token", !around.after.empty());
}

// A template, or a list of them with names of which "default" is the one that is meant.
void add_chat_template(GgufMetadata& metadata, const TokenizerTexts& texts,
                       const std::string& name) {
  const std::string key = "tokenizer.chat_template";
  if (!texts.chat_template.empty()) return metadata.add_text(key, texts.chat_template);
  if (texts.config.empty()) return;
  const Json config = parse_json(texts.config, name);
  const JsonFields fields(config, name);
  if (!fields.has("chat_template")) return;
  if (!config["chat_template"].is_array())
    return metadata.add_text(key, fields.text("chat_template"));
  std::vector<std::string> names;
  for (const JsonFields& one : fields_of(fields, "chat_template")) {
    const std::string which = one.text("name");
    if (which != "default") names.push_back(which);
    metadata.add_text(which == "default" ? key : fmt::format("{}.{}", key, which),
                      one.text("template"));
  }
  metadata.add_texts("tokenizer.chat_templates", names);
}

}  // namespace

void add_gguf_tokenizer(GgufMetadata& metadata, const TokenizerTexts& texts,
                        const GgufTokenizerOptions& options, const std::string& name) {
  // What this refuses is not looked at again.
  const Tokenizer tokenizer = Tokenizer::parse(texts.tokenizer, texts.config, name);
  const std::string file = name + ": tokenizer.json";
  const Json json = parse_json(texts.tokenizer, file);
  const JsonFields fields(json, file);
  const JsonFields model_fields = fields.object("model");
  const Bpe model(model_fields);
  WrittenVocabulary vocabulary = read_vocabulary(fields, model, options.vocabulary);

  if (!model_fields.boolean("byte_fallback", false)) {
    const std::string pre = pre_name(fields, options.pre);
    metadata.add_text("tokenizer.ggml.model", "gpt2");
    metadata.add_text("tokenizer.ggml.pre", pre);
    add_merges(metadata, model_fields);
  } else {
    const auto spaces = sentencepiece_spaces(fields);
    if (!spaces)
      fields.fail("normalizer", fmt::format("spaces that become {} and nothing else, by this or by "
                                            "the pre_tokenizer, with byte_fallback",
                                            kSpaceMark));
    if (!options.pre.empty())
      throw Error(
          fmt::format("{}: expected no name for pre, as a SentencePiece-like tokenizer has no "
                      "pre-tokenizer in a GGUF file, found {}",
                      file, options.pre));
    for (int byte = 0; byte < 256; ++byte)
      if (!model.id(fmt::format("<0x{:02X}>", byte)))
        model_fields.fail("byte_fallback", fmt::format("a token <0x{:02X}>", byte));
    const std::vector<float> scores = scores_of(fields, model, vocabulary, spaces->splits);
    if (model_fields.has("unk_token")) {
      const std::string unknown = model_fields.text("unk_token");
      vocabulary.set(model.id(unknown).value_or(0), unknown, GgufTokenType::kUnknown);
    }
    metadata.add_text("tokenizer.ggml.model", "llama");
    metadata.add_text("tokenizer.ggml.pre", "default");
    metadata.add_reals("tokenizer.ggml.scores", scores);
    metadata.add_flag("tokenizer.ggml.add_space_prefix", spaces->prefix);
  }
  metadata.add_texts("tokenizer.ggml.tokens", vocabulary.tokens);
  metadata.add_numbers("tokenizer.ggml.token_type", vocabulary.types);
  add_special_tokens(metadata, tokenizer, fields, texts, options);
  add_chat_template(metadata, texts, name + ": tokenizer_config.json");
}

}  // namespace watersic
