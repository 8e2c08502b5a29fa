// Tokenizers to GGUF and back: the same ids, or an error that says what can't be said.
#include "tokenizer/gguf_vocabulary.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "io/gguf.h"
#include "support/error_of.h"
#include "tokenizer/gguf_pre.h"
#include "tokenizer/tokenizer.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = WATERSIC_SOURCE_DIR;

// A tokenizer with texts (tests/data/tokenizers), made such that a GGUF file can say it.
Json synthetic(const std::string& name) {
  Json json = read_json(kSource / "tests/data/tokenizers/synthetic" / (name + ".json"));
  for (Json& token : json["tokenizer"]["added_tokens"]) token["normalized"] = false;
  if (name != "llama2") return json;
  // All merges that the vocabulary allows, as those of a SentencePiece model are.
  const Json& vocabulary = json["tokenizer"]["model"]["vocab"];
  std::map<int, std::string> by_id;
  for (const auto& [token, id] : vocabulary.items()) by_id[id.get<int>()] = token;
  Json merges = Json::array();
  for (const auto& [id, token] : by_id) {
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const std::string left = token.substr(0, cut), right = token.substr(cut);
      if (vocabulary.contains(left) && vocabulary.contains(right))
        merges.push_back(left + " " + right);
    }
  }
  json["tokenizer"]["model"]["merges"] = std::move(merges);
  return json;
}
TokenizerTexts texts_of(const Json& json) {
  return {.tokenizer = json.at("tokenizer").dump(),
          .config = json.value("config", Json::object()).dump(),
          .chat_template = ""};
}

// The keys of a file that holds nothing else.
Json written(const TokenizerTexts& texts, const GgufTokenizerOptions& options) {
  GgufMetadata metadata;
  add_gguf_tokenizer(metadata, texts, options, "test");
  const fs::path path =
      fs::temp_directory_path() / ("watersic-vocabulary-" + std::to_string(::getpid()) + ".gguf");
  {
    GgufWriter writer(path, metadata, {{.name = "w", .cols = 1, .is_vector = true}});
    writer.write(std::vector<float>{0});
    writer.commit();
  }
  Json keys = GgufFile(path).metadata();
  fs::remove(path);
  return keys;
}

Tokenizer read_back(const Json& keys) {
  const TokenizerTexts texts = tokenizer_from_gguf(JsonFields(keys, "test.gguf"));
  return Tokenizer::parse(texts.tokenizer, texts.config, "test.gguf");
}

std::string gguf_error(const Json& json, const GgufTokenizerOptions& options) {
  return error_of([&] { written(texts_of(json), options); });
}
void expect_part(const std::string& error, const std::string& part) {
  EXPECT_NE(error.find(part), std::string::npos) << "expected: " << part << "\nfound: " << error;
}

class RoundTrip : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(RoundTrip, GivesTheSameIds) {
  const auto [name, pre] = GetParam();
  const Json json = synthetic(name);
  const TokenizerTexts texts = texts_of(json);
  const Tokenizer original = Tokenizer::parse(texts.tokenizer, texts.config, name);
  const int64_t size = original.vocabulary_size();
  const Json keys = written(texts, {.vocabulary = size + 3});
  EXPECT_EQ(keys["tokenizer.ggml.pre"], pre);
  EXPECT_EQ(keys["tokenizer.ggml.tokens"].size(), static_cast<size_t>(size + 3));
  EXPECT_EQ(keys["tokenizer.ggml.tokens"].back(), "[PAD" + std::to_string(size + 2) + "]");
  EXPECT_EQ(keys["tokenizer.ggml.token_type"].back(), 5);

  const Tokenizer back = read_back(keys);
  EXPECT_EQ(back.bos_id(), original.bos_id());
  EXPECT_EQ(back.eos_id(), original.eos_id());
  EXPECT_EQ(back.adds_bos(), original.adds_bos());
  EXPECT_EQ(back.vocabulary_size(), size);
  for (const Json& test : json.at("cases")) {
    const auto text = test.at("text").get<std::string>();
    const auto ids = original.encode(text);
    EXPECT_EQ(back.encode(text), ids) << text;
    EXPECT_EQ(back.encode(text, false), original.encode(text, false)) << text;
    EXPECT_EQ(back.decode(ids), original.decode(ids)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Gguf, RoundTrip,
                         testing::Values(std::pair{"llama3", "llama-bpe"},
                                         std::pair{"qwen", "qwen2"},
                                         std::pair{"llama2", "default"}),
                         [](const auto& test) { return test.param.first; });

// The tokenizers of the real models, where they are there (tools/fetch-tokenizers).
TEST(GgufVocabulary, RealTokenizersGiveTheSameIds) {
  const char* folder = std::getenv("WATERSIC_TOKENIZERS");
  if (folder == nullptr) GTEST_SKIP() << "WATERSIC_TOKENIZERS is not set";
  const std::string mixed = read_text(kSource / "tests/data/tokenizers/mixed.txt");
  for (const auto& [name, vocabulary] :
       std::map<std::string, int64_t>{{"llama3", 128256}, {"qwen3", 151936}, {"llama2", 32000}}) {
    const TokenizerTexts texts = {
        .tokenizer = read_text(fs::path(folder) / name / "tokenizer.json"),
        .config = read_text(fs::path(folder) / name / "tokenizer_config.json"),
        .chat_template = ""};
    const Tokenizer original = Tokenizer::parse(texts.tokenizer, texts.config, name);
    const Tokenizer back = read_back(written(texts, {.vocabulary = vocabulary}));
    EXPECT_EQ(back.encode(mixed), original.encode(mixed)) << name;
  }
}

TEST(GgufVocabulary, SpecialTokensAndTypes) {
  Json json = synthetic("llama3");
  const Json keys = written(texts_of(json), {.vocabulary = 339});
  EXPECT_EQ(keys["tokenizer.ggml.model"], "gpt2");
  EXPECT_EQ(keys["tokenizer.ggml.bos_token_id"], 335);
  EXPECT_EQ(keys["tokenizer.ggml.eos_token_id"], 336);
  EXPECT_EQ(keys["tokenizer.ggml.add_bos_token"], true);
  EXPECT_EQ(keys["tokenizer.ggml.add_eos_token"], false);
  EXPECT_EQ(keys["tokenizer.ggml.token_type"][0], 1);
  EXPECT_EQ(keys["tokenizer.ggml.token_type"][336], 3);  // special
  EXPECT_EQ(keys["tokenizer.ggml.token_type"][337], 4);  // added, not special
  EXPECT_EQ(keys["tokenizer.ggml.merges"].size(), json["tokenizer"]["model"]["merges"].size());

  // config.json's ids where tokenizer_config.json names none.
  json["config"] = Json::object();
  json["tokenizer"]["post_processor"] = nullptr;
  const Json named = written(texts_of(json), {.vocabulary = 339, .bos = 1, .eos = 2});
  EXPECT_EQ(named["tokenizer.ggml.bos_token_id"], 1);
  EXPECT_EQ(named["tokenizer.ggml.eos_token_id"], 2);
  EXPECT_EQ(named["tokenizer.ggml.add_bos_token"], false);

  const Json spm = written(texts_of(synthetic("llama2")), {.vocabulary = 400});
  EXPECT_EQ(spm["tokenizer.ggml.model"], "llama");
  EXPECT_EQ(spm["tokenizer.ggml.add_space_prefix"], true);
  EXPECT_EQ(spm["tokenizer.ggml.add_eos_token"], true);
  EXPECT_EQ(spm["tokenizer.ggml.unknown_token_id"], 0);
  EXPECT_EQ(spm["tokenizer.ggml.token_type"][0], 2);
  EXPECT_EQ(spm["tokenizer.ggml.token_type"][1], 3);
  const Json& tokens = spm["tokenizer.ggml.tokens"];
  const auto byte = std::find(tokens.begin(), tokens.end(), "<0x0A>") - tokens.begin();
  EXPECT_EQ(spm["tokenizer.ggml.token_type"][byte], 6);
  EXPECT_FALSE(spm.contains("tokenizer.ggml.merges"));
}

TEST(GgufVocabulary, ThePreTokenizerIsFoundOrAskedFor) {
  const auto pre = [](const Json& json, const std::string& given = "") {
    return written(texts_of(json), {.vocabulary = 500, .pre = given}).at("tokenizer.ggml.pre");
  };
  Json json = synthetic("llama3");
  json["tokenizer"]["model"]["ignore_merges"] = false;
  EXPECT_EQ(pre(json), "smaug-bpe");
  EXPECT_EQ(pre(json, "llama-bpe"), "llama-bpe");
  // Removing what lies between matches, in place of keeping the matches.
  Json& split = json["tokenizer"]["pre_tokenizer"]["pretokenizers"][0];
  split["behavior"] = "Removed";
  split["invert"] = true;
  EXPECT_EQ(pre(json), "smaug-bpe");
  split["invert"] = false;
  expect_part(gguf_error(json, {.vocabulary = 500}), "as pre");

  json = synthetic("llama3");
  json["tokenizer"]["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\p{L}+|[^\\p{L}]";
  const std::string error = gguf_error(json, {.vocabulary = 500});
  for (const char* part : {"pre_tokenizer", "as pre", "llama-bpe", "qwen2"})
    expect_part(error, part);
  EXPECT_EQ(pre(json, "anything"), "anything");

  json = synthetic("gpt2");
  expect_part(gguf_error(json, {.vocabulary = 500}), "as pre");  // it adds a space
  json["tokenizer"]["pre_tokenizer"]["add_prefix_space"] = false;
  EXPECT_EQ(pre(json), "gpt-2");
  json["tokenizer"]["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}}}};
  EXPECT_EQ(pre(json), "smollm");
  json["tokenizer"]["normalizer"] = {{"type", "Lowercase"}};
  expect_part(gguf_error(json, {.vocabulary = 500, .pre = "smollm"}), "normalizer");

  // What each name stands for is found again.
  for (const char* name : {"llama-bpe", "smaug-bpe", "qwen2", "tekken", "gpt-2", "smollm"}) {
    const GgufPre* known = find_gguf_pre(name);
    ASSERT_NE(known, nullptr);
    const Json same = {{"pre_tokenizer", pre_tokenizer_json(*known)},
                       {"model", {{"ignore_merges", known->ignore_merges}}}};
    EXPECT_EQ(match_gguf_pre(JsonFields(same, "test")), known);
  }
  EXPECT_EQ(find_gguf_pre("llama3"), find_gguf_pre("llama-bpe"));
  EXPECT_EQ(find_gguf_pre("none"), nullptr);
}

TEST(GgufVocabulary, TokenizersThatAFileCannotSay) {
  const GgufTokenizerOptions options{.vocabulary = 500};
  expect_part(gguf_error(synthetic("metaspace"), options), "pre_tokenizer");
  expect_part(gguf_error(synthetic("llama3"), {.vocabulary = 300}),
              "below the model's vocabulary of 300");
  expect_part(gguf_error(synthetic("llama2"), {.vocabulary = 400, .pre = "llama-bpe"}),
              "no name for pre");

  Json json = synthetic("llama2");
  Json& merges = json["tokenizer"]["model"]["merges"];
  merges.push_back(merges.front());  // a token's merges with others in between
  expect_part(gguf_error(json, options), "merges");
  json = synthetic("llama2");
  json["tokenizer"]["model"]["merges"].erase(0);
  expect_part(gguf_error(json, options), "merges");
  json = synthetic("llama2");
  json["tokenizer"]["normalizer"] = {{"type", "NFC"}};
  expect_part(gguf_error(json, options), "normalizer");

  json = synthetic("llama3");
  json["tokenizer"]["post_processor"]["processors"][1]["single"] = Json::parse(
      R"([{"SpecialToken": {"id": "<|bos|>"}}, {"SpecialToken": {"id": "<|bos|>"}}, {"Sequence": {"id": "A"}}])");
  expect_part(gguf_error(json, options), "post_processor");
}

TEST(GgufVocabulary, ChatTemplates) {
  Json json = synthetic("qwen");
  const auto keys = [&](const std::string& file = "") {
    TokenizerTexts texts = texts_of(json);
    texts.chat_template = file;
    return written(texts, {.vocabulary = 300});
  };
  EXPECT_FALSE(keys().contains("tokenizer.chat_template"));
  EXPECT_EQ(keys("{{ a }}")["tokenizer.chat_template"], "{{ a }}");
  json["config"]["chat_template"] = "{{ b }}";
  EXPECT_EQ(keys()["tokenizer.chat_template"], "{{ b }}");
  EXPECT_EQ(keys("{{ a }}")["tokenizer.chat_template"], "{{ a }}");  // the file goes before
  const auto back = [&] {
    const Json all = keys();
    return Json::parse(tokenizer_from_gguf(JsonFields(all, "test")).config)
        .value("chat_template", Json());
  };
  EXPECT_EQ(back(), "{{ b }}");
  json["config"]["chat_template"] = Json::parse(
      R"([{"name": "default", "template": "{{ c }}"}, {"name": "tools", "template": "{{ d }}"}])");
  EXPECT_EQ(keys()["tokenizer.chat_template"], "{{ c }}");
  EXPECT_EQ(keys()["tokenizer.chat_template.tools"], "{{ d }}");
  EXPECT_EQ(back(), json["config"]["chat_template"]);
}

TEST(GgufVocabulary, BrokenKeysAreNamed) {
  const Json good = written(texts_of(synthetic("llama3")), {.vocabulary = 339});
  const Json spm = written(texts_of(synthetic("llama2")), {.vocabulary = 400});
  const auto expect = [](Json keys, const std::string& key, const Json& value,
                         const std::string& part) {
    if (value.is_null()) {
      keys.erase(key);
    } else {
      keys[key] = value;
    }
    const std::string error = error_of([&] { read_back(keys); });
    expect_part(error, key);
    expect_part(error, part);
  };
  EXPECT_EQ(error_of([&] { read_back(good); }), "");
  expect(good, "tokenizer.ggml.model", "t5", "gpt2 or llama");
  expect(good, "tokenizer.ggml.pre", "deepseek-llm", "llama-bpe");
  expect(good, "tokenizer.ggml.pre", nullptr, "a string");
  expect(good, "tokenizer.ggml.tokens", nullptr, "an array");
  expect(good, "tokenizer.ggml.tokens", Json::array(), "tokens");
  expect(good, "tokenizer.ggml.token_type", Json::array({1, 2}), "339");
  expect(good, "tokenizer.ggml.merges", nullptr, "an array");
  expect(good, "tokenizer.ggml.bos_token_id", 339, "below 339");
  expect(good, "tokenizer.ggml.eos_token_id", "x", "an integer");
  expect(spm, "tokenizer.ggml.scores", nullptr, "an array");
  expect(spm, "tokenizer.ggml.scores", Json::array({0}), "400");
  Json keys = good;
  keys["tokenizer.ggml.tokens"][1] = keys["tokenizer.ggml.tokens"][0];
  expect_part(error_of([&] { read_back(keys); }), "twice");
  keys = good;
  keys["tokenizer.ggml.token_type"][0] = 9;
  expect_part(error_of([&] { read_back(keys); }), "token_type");
  keys = good;
  keys["tokenizer.ggml.merges"][0] = 1;
  expect_part(error_of([&] { read_back(keys); }), "merges");
  keys = spm;
  for (Json& token : keys["tokenizer.ggml.tokens"])
    if (token == "<0x41>") token = "other";
  expect_part(error_of([&] { read_back(keys); }), "<0x41>");
}

}  // namespace
}  // namespace watersic
