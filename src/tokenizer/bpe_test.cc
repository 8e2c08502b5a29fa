#include "tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "support/error_of.h"
#include "watersic/error.h"

namespace watersic {
namespace {

using Ids = std::vector<int32_t>;

Bpe model(const Json& json) { return Bpe(JsonFields(json, "file: model")); }

Ids encode(const Bpe& bpe, std::string_view word) {
  Ids ids;
  Bpe::Workspace work;
  bpe.encode(word, work, ids);
  return ids;
}

// {"type": "BPE", "vocab": ..., "merges": ...}
Json bpe_json(const Json& vocab, const Json& merges) {
  return {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}};
}

std::string bpe_error(const Json& json) {
  return error_of([&] { model(json); });
}

TEST(Bpe, TheLowestRankMergesFirst) {
  const Json vocab = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}, {"abc", 5}};
  EXPECT_EQ(encode(model(bpe_json(vocab, {"a b", "b c"})), "abc"), (Ids{3, 2}));
  EXPECT_EQ(encode(model(bpe_json(vocab, {"b c", "a b"})), "abc"), (Ids{0, 4}));
  EXPECT_EQ(encode(model(bpe_json(vocab, {"b c", "a b", "a bc"})), "abcab"), (Ids{5, 3}));
}

TEST(Bpe, OfEqualRanksTheLeftmostMergesFirst) {
  const Json vocab = {{"a", 0}, {"aa", 1}, {"aaaa", 2}};
  const Bpe bpe = model(bpe_json(vocab, {"a a", "aa aa"}));
  EXPECT_EQ(encode(bpe, "aaa"), (Ids{1, 0}));
  EXPECT_EQ(encode(bpe, "aaaaaaa"), (Ids{2, 1, 0}));
  EXPECT_EQ(encode(bpe, ""), Ids{});
}

TEST(Bpe, MergesAreTextOrPairs) {
  const Json vocab = {{"a", 0}, {" ", 1}, {"a ", 2}, {"aa", 3}};
  EXPECT_EQ(encode(model(bpe_json(vocab, Json::array({Json::array({"a", " "})}))), "aa "),
            (Ids{0, 2}));
  // The head of a merges.txt is none; of two equal merges the later one counts.
  EXPECT_EQ(encode(model(bpe_json(vocab, {"#version: 0.2", "a a"})), "aa"), Ids{3});
  const Json letters = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}};
  EXPECT_EQ(encode(model(bpe_json(letters, {"a b", "b c", "a b"})), "abc"), (Ids{0, 4}));
}

TEST(Bpe, AWholeWordMayGoBeforeTheMerges) {
  Json json = bpe_json({{"a", 0}, {"b", 1}, {"ab", 2}, {"aba", 3}}, {"a b"});
  EXPECT_EQ(encode(model(json), "aba"), (Ids{2, 0}));
  json["ignore_merges"] = true;
  EXPECT_EQ(encode(model(json), "aba"), Ids{3});
  EXPECT_EQ(encode(model(json), "abaa"), (Ids{2, 0, 0}));
}

TEST(Bpe, CharactersWithoutATokenAreLeftOutOrUnknownOrBytes) {
  Json json = bpe_json({{"<unk>", 0}, {"<0xC3>", 1}, {"<0xA9>", 2}, {"z", 3}}, Json::array());
  EXPECT_EQ(encode(model(json), "xzé"), Ids{3});
  json["unk_token"] = "<unk>";
  EXPECT_EQ(encode(model(json), "xyzé"), (Ids{0, 0, 3, 0}));
  json["fuse_unk"] = true;
  EXPECT_EQ(encode(model(json), "xyzé"), (Ids{0, 3, 0}));
  json["byte_fallback"] = true;
  EXPECT_EQ(encode(model(json), "zé"), (Ids{3, 1, 2}));
  // U+00EA has a byte without a token.
  EXPECT_EQ(encode(model(json), "zê"), (Ids{3, 0}));
  // An unknown token is put when the next character with a token comes: behind the bytes.
  EXPECT_EQ(encode(model(json), "xyéz"), (Ids{1, 2, 0, 3}));
}

// The definition, word for word: the lowest rank, there the leftmost, until there is none.
Ids merged_naively(std::vector<std::string> symbols, const std::vector<std::string>& merges,
                   const Json& vocab) {
  std::map<std::string, size_t> ranks;
  for (size_t i = 0; i < merges.size(); ++i) ranks[merges[i]] = i;
  while (true) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto rank = ranks.find(std::string(symbols[i]).append(" ").append(symbols[i + 1]));
      if (rank != ranks.end() && rank->second < best) {
        best = rank->second;
        at = i;
      }
    }
    if (best == merges.size()) break;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  Ids ids;
  for (const std::string& symbol : symbols) ids.push_back(vocab[symbol].get<int32_t>());
  return ids;
}

TEST(Bpe, WordsOfAnyLengthMergeAsDefined) {
  std::mt19937 random(1);
  for (int round = 0; round < 30; ++round) {
    // Each merge makes a new token of two that there are.
    Json vocab = {{"a", 0}, {"b", 1}, {"é", 2}, {"_", 3}, {"d", 4}};
    std::vector<std::string> tokens = {"a", "b", "é", "_", "d"}, merges;
    for (int i = 0; i < 40; ++i) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      // No token holds "d" beside another character but "_": words are cut there.
      const std::string token = left + right;
      if (vocab.contains(token) || token.size() > 12) continue;
      if (token.find('d') != std::string::npos && token != "_d") continue;
      vocab[token] = vocab.size();
      tokens.push_back(token);
      merges.push_back(std::string(left).append(" ").append(right));
    }
    const Bpe bpe = model(bpe_json(vocab, merges));
    for (const size_t length : {1, 2, 7, 63, 64, 65, 300}) {
      std::vector<std::string> symbols;
      std::string word;
      for (size_t i = 0; i < length; ++i) word += symbols.emplace_back(tokens[random() % 5]);
      EXPECT_EQ(encode(bpe, word), merged_naively(symbols, merges, vocab)) << word;
    }
  }
}

TEST(Bpe, AWorkspaceChangesNothing) {
  const Json vocab = {{"a", 0}, {"b", 1}, {"ab", 2}};
  const Bpe bpe = model(bpe_json(vocab, {"a b"}));
  Bpe::Workspace work;
  Ids ids;
  for (const char* word : {"ab", "ba", "ab", "", "ba"}) bpe.encode(word, work, ids);
  EXPECT_EQ(ids, (Ids{2, 1, 0, 2, 1, 0}));
}

TEST(Bpe, BrokenMergesAreNamed) {
  const Json vocab = {{"a", 0}, {"b", 1}, {"ab", 2}};
  const auto error = [&](const Json& merges) { return bpe_error(bpe_json(vocab, merges)); };
  EXPECT_EQ(error({"a b", "ab"}),
            "file: model: merges[1]: expected two tokens with one space between them, found "
            "\"ab\"");
  EXPECT_NE(error(Json::array({"a b c"})).find("merges[0]: expected two tokens with one space"),
            std::string::npos);
  EXPECT_EQ(error(Json::array({"a x"})),
            "file: model: merges[0]: expected tokens of the vocabulary, \"x\" is none, found "
            "\"a x\"");
  // Both parts are tokens, what they become is none.
  EXPECT_EQ(error({"a b", Json::array({"b", "a"})}),
            "file: model: merges[1]: expected tokens of the vocabulary, \"ba\" is none, found "
            "[\"b\",\"a\"]");
  EXPECT_NE(error(Json::array({Json::array({"a"})})).find("merges[0]: expected two tokens"),
            std::string::npos);
  EXPECT_NE(error(Json::array({3})).find("merges[0]: expected two tokens, found 3"),
            std::string::npos);
  EXPECT_NE(error(Json::array({Json::array({"a", 1})})).find("merges[0]"), std::string::npos);
  EXPECT_NE(error("a b").find("merges: expected an array"), std::string::npos);
}

TEST(Bpe, BrokenVocabulariesAreNamed) {
  const auto error = [](const Json& vocab) { return bpe_error(bpe_json(vocab, Json::array())); };
  EXPECT_EQ(error({{"a", 0}, {"b", 0}}),
            "file: model: vocab: expected one token for each id, found \"a\" and \"b\" with 0");
  EXPECT_EQ(error({{"a", -1}}),
            "file: model: vocab: a: expected an id from 0 to 4194303, found -1");
  EXPECT_NE(error({{"a", 1e10}}).find("vocab: a: expected an id"), std::string::npos);
  EXPECT_NE(error({{"a", 5000000}}).find("vocab: a: expected an id"), std::string::npos);
  EXPECT_NE(error({{"a", "0"}}).find("vocab: a: expected an id"), std::string::npos);
  EXPECT_NE(error({{"", 0}}).find("expected no token without characters"), std::string::npos);
  EXPECT_NE(error(Json::object()).find("vocab: expected at least one token"), std::string::npos);
  EXPECT_NE(error(Json::array()).find("vocab: expected an object"), std::string::npos);
}

TEST(Bpe, WhatIsNotImplementedIsNamed) {
  const Json good = bpe_json({{"a", 0}}, Json::array());
  EXPECT_EQ(bpe_error(good), "");
  for (const auto& [field, value] : std::vector<std::pair<std::string, Json>>{
           {"type", "WordPiece"},
           {"type", "Unigram"},
           {"dropout", 0.1},
           {"continuing_subword_prefix", "##"},
           {"end_of_word_suffix", "</w>"},
           {"unk_token", "<unk>"},
           {"byte_fallback", "yes"},
       }) {
    Json json = good;
    json[field] = value;
    EXPECT_NE(bpe_error(json).find("file: model: " + field + ": expected "), std::string::npos)
        << bpe_error(json);
  }
}

}  // namespace
}  // namespace watersic
