#include "tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tokenizer/normalizer.h"
#include "watersic/error.h"

namespace watersic {
namespace {

using Strings = std::vector<std::string>;

Strings pieces_of(const Json& json, const std::string& text, bool at_start = true) {
  const Pieces pieces = PreTokenizer(JsonFields(json, "pre_tokenizer"))(text, at_start);
  Strings out;
  for (const Span& span : pieces.spans) out.emplace_back(pieces.piece(span));
  return out;
}

Json split_at(const Json& pattern, const char* behavior, bool invert = false) {
  return {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}};
}

TEST(PreTokenizer, SplitsInFiveWays) {
  const std::string text = "the-final--countdown";
  const Json dash = {{"String", "-"}};
  EXPECT_EQ(pieces_of(split_at(dash, "Removed"), text), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(pieces_of(split_at(dash, "Isolated"), text),
            (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(pieces_of(split_at(dash, "MergedWithPrevious"), text),
            (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(pieces_of(split_at(dash, "MergedWithNext"), text),
            (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(pieces_of(split_at(dash, "Contiguous"), text),
            (Strings{"the", "-", "final", "--", "countdown"}));
}

TEST(PreTokenizer, SplitsAroundWhatMatches) {
  const Json letters = {{"Regex", "[a-z]+"}};
  EXPECT_EQ(pieces_of(split_at(letters, "Removed", true), "1ab2 c"), (Strings{"ab", "c"}));
  EXPECT_EQ(pieces_of(split_at(letters, "Removed"), "1ab2 c"), (Strings{"1", "2 "}));
  EXPECT_EQ(pieces_of(split_at(letters, "MergedWithNext", true), "1ab2 c"),
            (Strings{"1ab", "2 c"}));
  EXPECT_EQ(pieces_of(split_at(letters, "Removed"), "abc"), Strings{});
  EXPECT_EQ(pieces_of(split_at(letters, "Isolated"), ""), Strings{});
}

TEST(PreTokenizer, ByteLevelWritesBytesAsCharacters) {
  Json json = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  EXPECT_EQ(pieces_of(json, "it's  é\n12"), (Strings{"it", "'s", "Ġ", "ĠÃ©", "Ċ", "12"}));
  json["use_regex"] = false;
  EXPECT_EQ(pieces_of(json, "a b"), Strings{"aĠb"});
  json["add_prefix_space"] = true;
  EXPECT_EQ(pieces_of(json, "a"), Strings{"Ġa"});
  EXPECT_EQ(pieces_of(json, " a"), Strings{"Ġa"});
  EXPECT_EQ(pieces_of(json, ""), Strings{});
}

TEST(PreTokenizer, MetaspaceMarksWords) {
  Json json = {{"type", "Metaspace"}, {"replacement", "▁"}};
  EXPECT_EQ(pieces_of(json, "a  b"), (Strings{"▁a", "▁", "▁b"}));
  EXPECT_EQ(pieces_of(json, " a", false), Strings{"▁a"});
  json["prepend_scheme"] = "first";
  EXPECT_EQ(pieces_of(json, "a b"), (Strings{"▁a", "▁b"}));
  EXPECT_EQ(pieces_of(json, "a b", false), (Strings{"a", "▁b"}));
  json["split"] = false;
  EXPECT_EQ(pieces_of(json, "a b"), Strings{"▁a▁b"});
  json["prepend_scheme"] = "never";
  EXPECT_EQ(pieces_of(json, "a b"), Strings{"a▁b"});
  // The old form.
  const Json old = {{"type", "Metaspace"}, {"replacement", "▁"}, {"add_prefix_space", false}};
  EXPECT_EQ(pieces_of(old, "a b"), (Strings{"a", "▁b"}));
}

TEST(PreTokenizer, ASequenceCutsPieceByPiece) {
  const Json json = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "WhitespaceSplit"}},
        {{"type", "Punctuation"}},
        {{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "first"}}}}};
  EXPECT_EQ(pieces_of(json, "a\u3000b12, $c!"), (Strings{"_a", "b", "1", "2", ",", "$", "c", "!"}));
  // The first piece is not where the text begins.
  EXPECT_EQ(pieces_of(json, " a"), Strings{"a"});
}

TEST(PreTokenizer, TheSmallOnes) {
  EXPECT_EQ(pieces_of({{"type", "Digits"}}, "a12²b"), (Strings{"a", "12²", "b"}));
  EXPECT_EQ(pieces_of({{"type", "Whitespace"}}, "e\u0301a-- b"), (Strings{"e\u0301a", "--", "b"}));
  EXPECT_EQ(pieces_of({{"type", "CharDelimiterSplit"}, {"delimiter", "."}}, ".a..b"),
            (Strings{"a", "b"}));
  EXPECT_EQ(pieces_of({{"type", "Punctuation"}, {"behavior", "Removed"}}, "a«b»$c€"),
            (Strings{"a", "b", "c€"}));
}

TEST(PreTokenizer, WhatIsNotImplementedIsNamed) {
  const auto error = [](const Json& json) -> std::string {
    try {
      PreTokenizer(JsonFields(json, "file: pre_tokenizer"));
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  };
  EXPECT_EQ(error({{"type", "UnicodeScripts"}}),
            "file: pre_tokenizer: type: expected a pre-tokenizer that is implemented, found "
            "\"UnicodeScripts\"");
  EXPECT_EQ(error({{"type", "Sequence"},
                   {"pretokenizers", Json::array({{{"type", "BertPreTokenizer"}}})}}),
            "file: pre_tokenizer: pretokenizers[0]: type: expected a pre-tokenizer that is "
            "implemented, found \"BertPreTokenizer\"");
  EXPECT_NE(error(split_at({{"String", "a"}}, "Somehow")).find("behavior: expected Removed"),
            std::string::npos);
  EXPECT_NE(error(split_at({{"Regex", "("}}, "Removed")).find("pattern: expected a regular"),
            std::string::npos);
  EXPECT_NE(error(split_at({{"String", ""}}, "Removed")).find("a string that is not empty"),
            std::string::npos);
  EXPECT_NE(error({{"type", "Metaspace"},
                   {"replacement", "_"},
                   {"prepend_scheme", "first"},
                   {"add_prefix_space", false}})
                .find("add_prefix_space"),
            std::string::npos);
}

std::string normalized(const Json& json, std::string_view text) {
  return Normalizer(JsonFields(json, "normalizer"))(text).text;
}

TEST(Normalizer, UnicodeForms) {
  // A letter and two marks in the wrong order, a ligature, the angstrom sign.
  const std::string text = "o\u0301\u0323 \ufb01 \u212b";
  EXPECT_EQ(normalized({{"type", "NFC"}}, text), "\u1ecd\u0301 \ufb01 \u00c5");
  EXPECT_EQ(normalized({{"type", "NFD"}}, text), "o\u0323\u0301 \ufb01 A\u030a");
  EXPECT_EQ(normalized({{"type", "NFKC"}}, text), "\u1ecd\u0301 fi \u00c5");
  EXPECT_EQ(normalized({{"type", "NFKD"}}, text), "o\u0323\u0301 fi A\u030a");
  // U+0000 does not end a text.
  EXPECT_EQ(normalized({{"type", "NFC"}}, {"e\u0301\0e\u0301", 7}), std::string("é\0é", 5));
}

TEST(Normalizer, StepByStep) {
  EXPECT_EQ(normalized({{"type", "Lowercase"}}, "ÀΣİẞ"), "àσi\u0307ß");
  EXPECT_EQ(normalized({{"type", "Strip"}}, "\u3000 a \n"), "a");
  EXPECT_EQ(normalized({{"type", "Strip"}, {"strip_left", false}}, " a "), " a");
  EXPECT_EQ(normalized({{"type", "Strip"}}, " \t "), "");
  const Json llama = {{"type", "Sequence"},
                      {"normalizers",
                       {{{"type", "Prepend"}, {"prepend", "▁"}},
                        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}};
  EXPECT_EQ(normalized(llama, "a  b"), "▁a▁▁b");
  EXPECT_EQ(normalized(llama, ""), "");
  EXPECT_THROW(normalized({{"type", "Precompiled"}}, "a"), Error);
}

}  // namespace
}  // namespace watersic
