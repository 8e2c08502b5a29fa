#include "tokenizer/gguf_pre.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "tokenizer/pattern.h"

namespace watersic {
namespace {

constexpr std::string_view kGpt2 =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kLlama3 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kQwen2 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kTekken =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kDigit = "\\p{N}";

const std::vector<GgufPre>& known() {
  static const std::vector<GgufPre> kKnown = {
      {.name = "llama-bpe", .patterns = {kLlama3}, .ignore_merges = true, .adds_bos = true},
      {.name = "smaug-bpe", .patterns = {kLlama3}},
      {.name = "qwen2", .patterns = {kQwen2}, .nfc = true},
      {.name = "tekken", .patterns = {kTekken}, .ignore_merges = true, .adds_bos = true},
      {.name = "gpt-2", .patterns = {kGpt2}},
      {.name = "smollm", .patterns = {kDigit, kGpt2}},
  };
  return kKnown;
}

// Other names of llama.cpp for the same.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kAliases = {{
    {"llama3", "llama-bpe"},
    {"llama-v3", "llama-bpe"},
    {"falcon3", "llama-bpe"},
    {"dbrx", "smaug-bpe"},
    {"deepseek-r1-qwen", "qwen2"},
    {"megrez", "qwen2"},
    {"starcoder", "smollm"},
    {"refact", "smollm"},
}};

// The patterns of a pre-tokenizer that is nothing but cuts, with the bytes made characters at its
// end; false for any other.
bool read_patterns(const JsonFields& fields, std::vector<std::string>& patterns, bool& bytes) {
  if (bytes) return false;  // nothing may come behind
  const std::string type = fields.text("type");
  if (type == "Sequence") {
    for (const JsonFields& part : fields_of(fields, "pretokenizers"))
      if (!read_patterns(part, patterns, bytes)) return false;
    return true;
  }
  if (type == "Split") {
    const JsonFields pattern = fields.object("pattern");
    // Removing what lies between matches is the same, as these patterns match everywhere.
    const std::string behavior = fields.text("behavior");
    const bool invert = fields.boolean("invert", false);
    if (!pattern.has("Regex") || behavior != (invert ? "Removed" : "Isolated")) return false;
    patterns.push_back(pattern.text("Regex"));
    return true;
  }
  if (type == "Digits" && fields.boolean("individual_digits", false)) {
    patterns.emplace_back(kDigit);
    return true;
  }
  if (type != "ByteLevel" || fields.boolean("add_prefix_space", true)) return false;
  if (fields.boolean("use_regex", true)) patterns.emplace_back(kGpt2);
  bytes = true;
  return true;
}

}  // namespace

const GgufPre* find_gguf_pre(std::string_view name) {
  for (const auto& [alias, same] : kAliases)
    if (name == alias) name = same;
  for (const GgufPre& pre : known())
    if (pre.name == name) return &pre;
  return nullptr;
}

const GgufPre* match_gguf_pre(const JsonFields& tokenizer) {
  std::vector<std::string> patterns;
  bool bytes = false;
  if (!tokenizer.has("pre_tokenizer") ||
      !read_patterns(tokenizer.object("pre_tokenizer"), patterns, bytes) || !bytes)
    return nullptr;
  const bool ignore_merges = tokenizer.object("model").boolean("ignore_merges", false);
  for (const GgufPre& pre : known()) {
    if (pre.ignore_merges == ignore_merges &&
        std::equal(patterns.begin(), patterns.end(), pre.patterns.begin(), pre.patterns.end()))
      return &pre;
  }
  return nullptr;
}

std::string gguf_pre_names() {
  std::string names;
  for (const GgufPre& pre : known()) names += (names.empty() ? "" : ", ") + std::string(pre.name);
  return names;
}

Json pre_tokenizer_json(const GgufPre& pre) {
  Json parts = Json::array();
  for (const std::string_view pattern : pre.patterns) {
    parts.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  parts.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", false},
                   {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

}  // namespace watersic
