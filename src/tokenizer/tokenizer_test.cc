// The committed ids are Hugging Face's own (tools/tokenizer-vectors).
#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "io/text.h"
#include "support/error_of.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

const fs::path kTokenizerFolder = WATERSIC_SOURCE_DIR;
const fs::path kData = kTokenizerFolder / "tests/data/tokenizers";

Tokenizer parse(const Json& tokenizer, const Json& config = nullptr) {
  return Tokenizer::parse(tokenizer.dump(), config.is_null() ? "" : config.dump(), "test");
}

std::string param_name(const ::testing::TestParamInfo<const char*>& test) { return test.param; }

std::string tokenizer_error(const Json& tokenizer, const Json& config = nullptr) {
  return error_of([&] { parse(tokenizer, config); });
}

Json added(int32_t id, const char* content, bool special, bool normalized = false) {
  return {{"id", id},        {"content", content},   {"special", special},      {"lstrip", false},
          {"rstrip", false}, {"single_word", false}, {"normalized", normalized}};
}

// Letters and "_", which marks words; "ab" is one token.
Json small() {
  return {
      {"version", "1.0"},
      {"added_tokens", {added(4, "<s>", true), added(5, "<t>", false)}},
      {"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "never"}}},
      {"decoder", {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "never"}}},
      {"model",
       {{"type", "BPE"},
        {"vocab", {{"a", 0}, {"b", 1}, {"_", 2}, {"ab", 3}}},
        {"merges", {"a b"}}}}};
}

TEST(Tokenizer, CutsMergesAndPutsTogether) {
  const Tokenizer tokenizer = parse(small());
  EXPECT_EQ(tokenizer.encode("ab ba"), (Ids{3, 2, 1, 0}));
  EXPECT_EQ(tokenizer.encode("ab<s>a<t>b<s"), (Ids{3, 4, 0, 5, 1}));  // "<" and "s" are no tokens
  EXPECT_EQ(tokenizer.encode(""), Ids{});
  EXPECT_EQ(tokenizer.decode(Ids{3, 2, 4, 1, 5}), "ab <s>b<t>");
  EXPECT_EQ(tokenizer.decode(Ids{3, 2, 4, 1, 5}, true), "ab b<t>");
  EXPECT_EQ(tokenizer.decode(Ids{}), "");
  EXPECT_EQ(tokenizer.decode(Ids{-1, 0, 6, 1000000}), "a");  // ids that are no token are skipped
  EXPECT_EQ(tokenizer.vocabulary_size(), 6);
  EXPECT_EQ(tokenizer.id("ab"), 3);
  EXPECT_EQ(tokenizer.id("<t>"), 5);
  EXPECT_EQ(tokenizer.id("ba"), std::nullopt);
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer.eos_id(), std::nullopt);
  EXPECT_FALSE(tokenizer.adds_bos());
}

// A tokenizer that makes much of little, in one step or in many.
TEST(Tokenizer, ATextGrowsByAStatedFactorOnly) {
  const auto encoded = [](const Json& normalizer, const Json& pre_tokenizer) {
    Json tokenizer = small();
    tokenizer["normalizer"] = normalizer;
    tokenizer["pre_tokenizer"] = pre_tokenizer;
    return error_of([&] { parse(tokenizer).encode(std::string(20000, 'a')); });
  };
  const auto replace = [](const Json& pattern, const std::string& content) {
    return Json{{"type", "Replace"}, {"pattern", pattern}, {"content", content}};
  };
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", false}};
  const std::string error = "expected at most 644096 bytes to be made of a text, found more";
  const Json doubling(40, replace({{"String", "a"}}, "aa"));
  for (const Json& normalizer : {Json{{"type", "Sequence"}, {"normalizers", doubling}},
                                 replace({{"Regex", ""}}, std::string(500, 'x')),
                                 replace({{"String", "a"}}, std::string(1000000, 'x')),
                                 Json{{"type", "Prepend"}, {"prepend", std::string(800000, 'x')}}})
    EXPECT_NE(encoded(normalizer, bytes).find(error), std::string::npos);
  const Json marks = {{"type", "Metaspace"}, {"replacement", std::string(1000, '_')}};
  const Json letters = {{"type", "Split"},
                        {"pattern", {{"String", "a"}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
  for (const Json& steps : {Json{letters, marks}, Json(30, {{"type", "ByteLevel"}})}) {
    const std::string found = encoded(nullptr, {{"type", "Sequence"}, {"pretokenizers", steps}});
    EXPECT_TRUE(found.find(error) != std::string::npos) << found.substr(0, 200);
  }
  EXPECT_EQ(encoded(replace({{"String", "a"}}, std::string(30, 'b')), bytes), "");
  // What is said of a long pattern is short.
  const std::string wrong =
      encoded(replace({{"Regex", "(" + std::string(100000, 'a')}}, ""), bytes);
  EXPECT_FALSE(wrong.empty());
  EXPECT_LT(wrong.size(), 400U);
}

// Each token looked through all the white space behind it.
TEST(Tokenizer, WhiteSpaceIsLookedThroughOnce) {
  Json tokenizer = small();
  Json space = added(6, " ", false);
  space["rstrip"] = true;
  space["lstrip"] = true;
  tokenizer["added_tokens"].push_back(space);
  EXPECT_EQ(parse(tokenizer).encode("a" + std::string(1000000, ' ') + "b  a "),
            (Ids{0, 6, 1, 6, 0, 6}));
}

// As transformers loads them, whatever the post-processor of tokenizer.json.
TEST(Tokenizer, LlamasClassesPutWhatTheConfigSays) {
  const Json tokenizer = small();
  Json config = {{"tokenizer_class", "LlamaTokenizerFast"}, {"bos_token", "<s>"}};
  EXPECT_EQ(parse(tokenizer, config).encode("ab"), (Ids{4, 3}));
  EXPECT_TRUE(parse(tokenizer, config).adds_bos());
  config["add_eos_token"] = true;
  config["eos_token"] = "<t>";
  EXPECT_EQ(parse(tokenizer, config).encode("ab"), (Ids{4, 3, 5}));
  EXPECT_EQ(parse(tokenizer, config).encode("ab", false), Ids{3});
  config["add_bos_token"] = false;
  config["tokenizer_class"] = "LlamaTokenizer";
  EXPECT_EQ(parse(tokenizer, config).encode("ab"), (Ids{3, 5}));
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  EXPECT_EQ(parse(tokenizer, config).encode("ab"), Ids{3});
  // Without a name it is "<s>", and there must be one.
  EXPECT_EQ(parse(tokenizer, {{"tokenizer_class", "CodeLlamaTokenizer"}}).encode("ab"),
            (Ids{4, 3}));
  config = {{"tokenizer_class", "LlamaTokenizer"}, {"add_eos_token", true}};
  EXPECT_NE(
      tokenizer_error(tokenizer, config).find("eos_token: expected a token, as add_eos_token"),
      std::string::npos);
}

TEST(Tokenizer, TokenBytesAreThoseInsideAText) {
  const Tokenizer tokenizer = parse(small());
  EXPECT_EQ(tokenizer.token_bytes(3), "ab");
  EXPECT_EQ(tokenizer.token_bytes(2), " ");
  EXPECT_EQ(tokenizer.token_bytes(4), "");     // special
  EXPECT_EQ(tokenizer.token_bytes(5), "<t>");  // added, a part of the text
  EXPECT_EQ(tokenizer.token_bytes(-1), "");
  EXPECT_EQ(tokenizer.token_bytes(6), "");
}

TEST(Tokenizer, SpecialTokensAroundTheText) {
  Json json = small();
  json["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       {{{"type", "ByteLevel"}},
        {{"type", "TemplateProcessing"},
         {"single",
          {{{"SpecialToken", {{"id", "<s>"}}}},
           {{"Sequence", {{"id", "A"}}}},
           {{"SpecialToken", {{"id", "both"}}}}}},
         {"special_tokens", {{"<s>", {{"ids", {4}}}}, {"both", {{"ids", {5, 4}}}}}}}}}};
  const Tokenizer tokenizer = parse(json);
  EXPECT_EQ(tokenizer.encode("a"), (Ids{4, 0, 5, 4}));
  EXPECT_EQ(tokenizer.encode("a", false), Ids{0});
  EXPECT_EQ(tokenizer.encode(""), (Ids{4, 5, 4}));
  EXPECT_EQ(tokenizer.bos_id(), 4);
  EXPECT_TRUE(tokenizer.adds_bos());

  // What the configuration names goes before.
  const Tokenizer named = parse(json, {{"bos_token", {{"content", "<t>"}}}, {"eos_token", "<s>"}});
  EXPECT_EQ(named.bos_id(), 5);
  EXPECT_EQ(named.eos_id(), 4);
  EXPECT_FALSE(named.adds_bos());
}

TEST(Tokenizer, AddedTokensAreTheLongestAndTheLeftmost) {
  Json json = small();
  json["added_tokens"] = {added(4, "ab", true), added(5, "aba", true), added(6, "bab", true),
                          added(7, "b", true)};
  json["model"]["vocab"] = {{"a", 0}, {"_", 1}, {"c", 2}, {"x", 3}};
  json["model"]["merges"] = Json::array();
  const Tokenizer tokenizer = parse(json);
  EXPECT_EQ(tokenizer.encode("abab"), (Ids{5, 7}));
  EXPECT_EQ(tokenizer.encode("cbabab"), (Ids{2, 6, 4}));
  EXPECT_EQ(tokenizer.encode("aab a"), (Ids{0, 4, 1, 0}));
}

TEST(Tokenizer, NormalizedTokensAreFoundInTheNormalizedText) {
  Json json = small();
  json["normalizer"] = {{"type", "Lowercase"}};
  json["added_tokens"] = {added(4, "<S>", true), added(5, "<T>", false, true)};
  const Tokenizer tokenizer = parse(json);
  EXPECT_EQ(tokenizer.encode("AB<S><T><t>"), (Ids{3, 4, 5, 5}));
  EXPECT_EQ(tokenizer.encode("a<s>"), Ids{0});
  EXPECT_EQ(tokenizer.decode(Ids{4, 5}), "<S><t>");
}

TEST(Tokenizer, IsSharedByThreadsAndCopies) {
  Tokenizer first = parse(small());
  const Tokenizer second = first;
  const Tokenizer third = std::move(first);
  EXPECT_EQ(second.encode("ab"), third.encode("ab"));
}

TEST(Tokenizer, RefusesATextThatIsNotUtf8) {
  try {
    parse(small()).encode("ab\xff");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "expected a text in UTF-8, found the byte 0xff at offset 2");
  }
}

TEST(Tokenizer, RefusesBrokenFilesByName) {
  const auto with = [](const char* pointer, const Json& value) {
    Json json = small();
    json[Json::json_pointer(pointer)] = value;
    return tokenizer_error(json);
  };
  EXPECT_EQ(tokenizer_error(small()), "");
  EXPECT_EQ(with("/model/merges/0", "a c"),
            "test: tokenizer.json: model: merges[0]: expected tokens of the vocabulary, \"c\" is "
            "none, found \"a c\"");
  EXPECT_EQ(with("/added_tokens/1/id", 4),
            "test: tokenizer.json: added_tokens[1]: id: expected 5 (the next free id) for "
            "\"<t>\", found 4");
  EXPECT_EQ(with("/added_tokens/1/content", "a"),
            "test: tokenizer.json: added_tokens[1]: id: expected 0 (its id in the vocabulary) for "
            "\"a\", found 5");
  EXPECT_NE(with("/added_tokens/1", added(4, "<s>", true)).find("added_tokens[1]"),
            std::string::npos);
  EXPECT_NE(with("/added_tokens/0/content", "").find("a token that is not empty"),
            std::string::npos);
  EXPECT_NE(with("/added_tokens/0/special", 1).find("special: expected true or false, found 1"),
            std::string::npos);
  EXPECT_NE(with("/added_tokens/0", 1).find("added_tokens[0]: expected an object, found 1"),
            std::string::npos);
  EXPECT_NE(with("/version", "2.0").find("version: expected 1.0"), std::string::npos);
  EXPECT_NE(with("/model", nullptr).find("model: expected an object"), std::string::npos);
  EXPECT_NE(with("/normalizer", {{"type", "BertNormalizer"}}).find("normalizer: type: expected"),
            std::string::npos);
  EXPECT_NE(with("/decoder", {{"type", "WordPiece"}}).find("decoder: type: expected"),
            std::string::npos);
  EXPECT_NE(with("/post_processor", {{"type", "Other"}}).find("post_processor: type: expected"),
            std::string::npos);
  EXPECT_NE(
      with("/post_processor", {{"type", "BertProcessing"}, {"cls", {"x", 77}}, {"sep", {"<s>", 4}}})
          .find("post_processor: expected ids of tokens (77 is none)"),
      std::string::npos);

  Json alike = small();
  alike["normalizer"] = {{"type", "Lowercase"}};
  alike["added_tokens"] = {added(4, "<s>", true, true), added(5, "<S>", true, true)};
  EXPECT_NE(tokenizer_error(alike).find("tokens that the normalizer leaves different"),
            std::string::npos);

  EXPECT_NE(tokenizer_error(small(), {{"bos_token", "<x>"}})
                .find("test: tokenizer_config.json: bos_token: expected a token"),
            std::string::npos);
  EXPECT_NE(tokenizer_error(small(), {{"eos_token", 3}}).find("eos_token: expected a string"),
            std::string::npos);
  EXPECT_THROW(Tokenizer::parse("{", "", "test"), Error);
  EXPECT_THROW(Tokenizer::parse("", "", "test"), Error);
  EXPECT_THROW(Tokenizer::parse(small().dump(), "[]", "test"), Error);
}

TEST(Tokenizer, RefusesAFolderWithoutAFile) {
  const fs::path nowhere = fs::temp_directory_path() / "watersic-no-such-folder";
  try {
    Tokenizer::load(nowhere);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find((nowhere / "tokenizer.json").string()), std::string::npos);
  }
}

// One small tokenizer of each kind.
class SyntheticTokenizer : public ::testing::TestWithParam<const char*> {};

TEST_P(SyntheticTokenizer, GivesHuggingFacesIds) {
  const Json file = read_json(kData / "synthetic" / (std::string(GetParam()) + ".json"));
  const Tokenizer tokenizer = parse(file["tokenizer"], file["config"]);
  for (const Json& item : file["cases"]) {
    const auto text = item["text"].get<std::string>();
    const Ids ids = item["ids"];
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    EXPECT_EQ(tokenizer.encode(text, false), item["plain"].get<Ids>()) << text;
    // Where bytes are no character, Hugging Face puts U+FFFD and we the bytes.
    for (const bool skip : {false, true}) {
      const std::string ours = tokenizer.decode(ids, skip);
      const auto theirs = item[skip ? "skipped" : "decoded"].get<std::string>();
      if (find_invalid_utf8(ours) == std::string::npos) {
        EXPECT_EQ(ours, theirs) << text;
      }
    }
  }
  EXPECT_GT(file["cases"].size(), 10U);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SyntheticTokenizer,
                         ::testing::Values("llama3", "gpt2", "llama2", "qwen", "metaspace"),
                         param_name);

TEST(BundledTokenizer, IsReadAndRoundTrips) {
  const Tokenizer tokenizer = Tokenizer::load(kTokenizerFolder / "models/books-llama");
  EXPECT_EQ(tokenizer.vocabulary_size(), 4096);
  EXPECT_EQ(tokenizer.bos_id(), 4094);
  EXPECT_EQ(tokenizer.eos_id(), 4095);
  EXPECT_TRUE(tokenizer.adds_bos());

  const std::string text = read_text(kData / "mixed.txt");
  const Ids ids = tokenizer.encode(text, false);
  EXPECT_EQ(tokenizer.decode(ids), text);
  // Byte by byte it is the same text, apart from the special tokens written in it.
  std::string bytes;
  for (const int32_t id : ids)
    bytes += id >= 4094 ? tokenizer.decode(Ids{id}) : tokenizer.token_bytes(id);
  EXPECT_EQ(bytes, text);
  // Every string of bytes that is a character, whatever the vocabulary.
  std::string every;
  for (int lead = 0xC2; lead <= 0xF4; ++lead)
    for (int second = 0x90; second <= 0x9F && lead != 0xE0 && lead != 0xF4; ++second) {
      every += static_cast<char>(lead);
      every += static_cast<char>(second);
      if (lead >= 0xE0) every += '\x81';
      if (lead >= 0xF0) every += '\xBF';
    }
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(every, false)), every);
}

// The tokenizers of real models, where tools/fetch-tokenizers has put them.
class RealTokenizer : public ::testing::TestWithParam<const char*> {};

TEST_P(RealTokenizer, GivesHuggingFacesIds) {
  const char* root = std::getenv("WATERSIC_TOKENIZERS");
  if (root == nullptr)
    GTEST_SKIP() << "WATERSIC_TOKENIZERS is not set to a folder that tools/fetch-tokenizers filled";
  const Tokenizer tokenizer = Tokenizer::load(fs::path(root) / GetParam());
  const Json expected = read_json(kData / ("mixed." + std::string(GetParam()) + ".json"));
  const std::string text = read_text(kData / "mixed.txt");

  EXPECT_EQ(tokenizer.encode(text), expected["whole"].get<Ids>());
  size_t begin = 0;
  for (const Json& line_ids : expected["lines"]) {
    ASSERT_LE(begin, text.size());
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    EXPECT_EQ(tokenizer.encode(line), line_ids.get<Ids>()) << line;
    begin = end + 1;
  }
  EXPECT_EQ(begin, text.size() + 1);
}

INSTANTIATE_TEST_SUITE_P(Models, RealTokenizer, ::testing::Values("llama3", "qwen3", "llama2"),
                         param_name);

}  // namespace
}  // namespace watersic
