#include "tokenizer/regex.h"

#include <gtest/gtest.h>

#include "tokenizer/regex_syntax.h"
#include "watersic/error.h"

namespace watersic {
namespace {

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  std::vector<Span> spans;
  Regex(pattern, "test").find_all(text, spans);
  std::vector<std::string> out;
  out.reserve(spans.size());
  for (const Span& span : spans) out.emplace_back(text.substr(span.begin, span.end - span.begin));
  return out;
}
using Strings = std::vector<std::string>;

TEST(Regex, FindsFromLeftToRightWithoutOverlap) {
  EXPECT_EQ(matches("ab|a", "aabab"), (Strings{"a", "ab", "ab"}));
  EXPECT_EQ(matches("x", "aaa"), Strings{});
  EXPECT_EQ(matches("x", ""), Strings{});
  EXPECT_EQ(matches("", ""), Strings{""});
}

TEST(Regex, AnEmptyMatchBehindAMatchDoesNotCount) {
  // At 0 nothing, at 1 "bb", at 3 nothing again but right behind it, at 4 nothing.
  std::vector<Span> spans;
  Regex("b*", "test").find_all("abbc", spans);
  EXPECT_EQ(spans, (std::vector<Span>{{0, 0}, {1, 3}, {4, 4}}));
  // An empty match steps over a whole character.
  Regex("x*", "test").find_all("éa", spans);
  EXPECT_EQ(spans, (std::vector<Span>{{0, 0}, {2, 2}, {3, 3}}));
}

TEST(Regex, LiteralsStandForThemselves) {
  EXPECT_EQ(Regex::literal("a.").replace_all("aba.a.", "$0", 100), "ab$0$0");
  EXPECT_EQ(Regex("a.", "test").replace_all("aba.a.", "", 100), "");
}

TEST(Regex, WhiteSpaceIsUnicodes) {
  EXPECT_EQ(matches("\\s+", "a\t b\u00a0\u2003\u3000c\u0085d"),
            (Strings{"\t ", "\u00a0\u2003\u3000", "\u0085"}));
  // PCRE2's own \s has the Mongolian vowel separator; Unicode took it out in 6.3.
  EXPECT_EQ(matches("\\s", "\u180e\u200b\ufeff"), Strings{});
  EXPECT_EQ(matches("\\S|[^\\s]", "\u180e "), Strings{"\u180e"});
}

TEST(Regex, WordsHaveMarksConnectorsAndLatinFractionsOutsideOfBrackets) {
  EXPECT_EQ(matches("\\w+", "e\u0301_\u203f1 -²½①"), (Strings{"e\u0301_\u203f1", "²½"}));
  EXPECT_EQ(matches("[\\w]+", "a²½①b"), (Strings{"a", "b"}));
  EXPECT_EQ(matches("\\W+", "a - b"), Strings{" - "});
  EXPECT_EQ(matches("\\ba", "a ba ²a \u0301a"), Strings{"a"});
}

TEST(Regex, ReadsOnigurumasEscapes) {
  EXPECT_EQ(matches("\\h+", "xyz09afAF g\u00a0"), Strings{"09afAF"});
  EXPECT_EQ(matches("\\v", "\n\x0b\u2028"), Strings{"\x0b"});
  EXPECT_EQ(matches("[\\b]", "a\bb"), Strings{"\b"});
  EXPECT_EQ(matches("\\u00e9|\\x61|\\x{4F60}", "éa你b"), (Strings{"é", "a", "你"}));
  EXPECT_EQ(matches("[[:punct:]]+", "a$.+b"), Strings{"$.+"});
  EXPECT_EQ(matches("\\p{^L}\\P{L}", "a1b12"), Strings{"12"});
}

TEST(Regex, AClassInAClassAddsItsCharacters) {
  EXPECT_EQ(matches("[a[bc]]+", "xabcx[]"), Strings{"abc"});
  EXPECT_EQ(matches("[[ab][x-z]]+", "abcyz"), (Strings{"ab", "yz"}));
  EXPECT_EQ(matches("[^(\\s|[.,!…]))]+", "Hei (a), b|c!"), (Strings{"Hei", "a", "b", "c"}));
  // Hyphens at its ends, and behind it, are themselves.
  EXPECT_EQ(matches("[+[-9]]+", "+,-.9"), (Strings{"+", "-", "9"}));
  EXPECT_EQ(matches("[[+-]9]+", "+,-.9"), (Strings{"+", "-", "9"}));
  EXPECT_EQ(matches("[[+]-9]+", "+,-.9"), (Strings{"+", "-", "9"}));
  EXPECT_EQ(matches("[[a[b[c]]]d]+", "abcd"), Strings{"abcd"});
}

TEST(Regex, AScriptIsWithoutItsExtensions) {
  // U+3001 is Common, and Han only by extension.
  EXPECT_EQ(matches("\\p{Han}+", "漢字、仮名"), (Strings{"漢字", "仮名"}));
}

TEST(Regex, LinesAreRubys) {
  EXPECT_EQ(matches("^a|b$", "ab\nab"), (Strings{"a", "b", "a", "b"}));
  EXPECT_EQ(matches("a.b", "a\nb a\rb"), Strings{"a\rb"});
  EXPECT_EQ(matches("(?m:a.b)", "a\nb"), Strings{"a\nb"});
  EXPECT_EQ(matches("\\Aa|b\\z", "ab\nab"), (Strings{"a", "b"}));
}

TEST(Regex, CountsAreRubys) {
  EXPECT_EQ(matches("a{,2}b", "aaab"), Strings{"aab"});
  EXPECT_EQ(matches("a{1,2}?", "aa"), (Strings{"a", "a"}));
  EXPECT_EQ(matches("a{|b}", "a{b}"), (Strings{"a{", "b}"}));
  EXPECT_EQ(matches("a++b", "aab"), Strings{"aab"});
}

TEST(Regex, IgnoresCaseInAGroup) {
  EXPECT_EQ(matches("(?i:'s)x", "'sx 'Sx 'ſx 'sX"), (Strings{"'sx", "'Sx", "'ſx"}));
}

TEST(Regex, LongTextsNeedNoStack) {
  // Repeated groups cost the JIT stack for each repetition.
  const std::string text(1 << 18, 'a');
  EXPECT_EQ(matches("(?:a|b)+", text), Strings{text});
}

TEST(Regex, RefusesWhatIsNotValid) {
  for (const char* pattern : {"(", "a)", "[a", "*", "\\p{Nonsense}", "(?<=a+)b", "\\"})
    EXPECT_THROW(Regex(pattern, "test"), Error) << pattern;
}

TEST(Regex, RefusesByNameWhatPcre2ReadsOtherwise) {
  const auto reason = [](const char* pattern) -> std::string {
    try {
      pcre2_pattern(pattern, "file: field");
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  };
  for (const char* pattern : {"[a&&b]", "[a[^bc]]", "[a-[bc]]", "[[:alpha:]]", "a{1,3}+", "a{2}?",
                              "(a)\\1", "(?<n>a)", "(?x: a)", "\\R", "\\X", "\\K", "\\G", "[\\W]",
                              "[\\H]", "\\xe9", "\\u12", "(*FAIL)", "\\pL"}) {
    EXPECT_NE(reason(pattern).find("is not implemented"), std::string::npos) << pattern;
    EXPECT_NE(reason(pattern).find("file: field"), std::string::npos) << pattern;
  }
}

TEST(Regex, GivesUpOnEndlessBacktracking) {
  const Regex regex("(?:a+)+\\p{N}", "file: field");
  std::vector<Span> spans;
  EXPECT_THROW(regex.find_all(std::string(100, 'a') + "c", spans), Error);
}

}  // namespace
}  // namespace watersic
