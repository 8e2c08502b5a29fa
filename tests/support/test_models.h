// Models in memory for the tests of what writes them.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "runtime/open_model.h"
#include "support/tiny_models.h"

namespace watersic {

// A byte-level tokenizer for the tiny models' 50 ids: 44 letters, of which two pairs merge, and two
// special tokens.
inline Json tiny_tokenizer() {
  Json vocabulary = Json::object();
  int id = 0;
  for (char c = 'a'; c <= 'z'; ++c) vocabulary[std::string(1, c)] = id++;
  for (char c = 'A'; c <= 'P'; ++c) vocabulary[std::string(1, c)] = id++;
  vocabulary["\u0120"] = id++;  // a space
  vocabulary["th"] = id++;
  vocabulary["the"] = id++;
  Json json = Json::parse(R"({"version": "1.0", "normalizer": null,
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
      "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [45], "tokens": ["<s>"]}}},
      "decoder": {"type": "ByteLevel"},
      "model": {"type": "BPE", "merges": ["t h", "th e"]}})");
  json["model"]["vocab"] = std::move(vocabulary);
  for (const char* token : {"<s>", "</s>"})
    json["added_tokens"].push_back({{"id", id++}, {"content", token}, {"special", true}});
  return json;
}

// A tiny model (model/tiny_models.h), with float32 weights that no 16 bits hold.
class InMemory : public OpenModel {
 public:
  explicit InMemory(const std::string& kind) : json_(tiny_config(kind)) {
    name_ = kind;
    config_ = parse_config(json_, "config.json");
    source_ = random_model(config_, 1);
  }
  const WeightSource& weights() const override { return source_; }
  MemorySource& source() { return source_; }
  Json& json() { return json_; }
  void set_tokenizer(const Json& tokenizer) { tokenizer_ = tokenizer; }
  std::optional<std::string> text(const std::string& file) const override {
    if (file == "config.json") return json_.dump();
    if (file == "tokenizer.json" && !tokenizer_.is_null()) return tokenizer_.dump();
    if (file == "tokenizer_config.json") return R"({"bos_token": "<s>", "eos_token": "</s>"})";
    if (file == "chat_template.jinja") return "{{ messages }}";
    return {};
  }
  std::string model_id() const override { return "test"; }

 private:
  Json json_, tokenizer_ = tiny_tokenizer();
  MemorySource source_;
};

}  // namespace watersic
