#include "eval/windows.h"

#include <gtest/gtest.h>

#include <numeric>

#include "watersic/error.h"

namespace watersic {
namespace {

using Ids = std::vector<int32_t>;

Ids counted(int32_t count) {
  Ids ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

std::string error_of(int32_t tokens, Convention convention, int64_t context) {
  try {
    scored_windows(counted(tokens), convention, context, {}, "book.txt");
  } catch (const Error& e) {
    return e.what();
  }
  return "(no error)";
}

TEST(Windows, HuggingFaceScoresAllButTheFirstTokenOfEachWindow) {
  // BOS stands where the tokenizer put it, and is put nowhere else.
  const ScoredWindows w = scored_windows(counted(11), Convention::kHuggingFace, 4, 99, "text");
  EXPECT_EQ(w.ids, (std::vector<Ids>{{0, 1, 2, 3}, {4, 5, 6, 7}}));
  EXPECT_EQ(w.first, 0);
  EXPECT_EQ(w.scored(), 2 * 3);
  EXPECT_EQ(scored_windows(counted(4096), Convention::kHuggingFace, 2048, {}, "text").scored(),
            2 * 2047);
}

TEST(Windows, LlamaCppScoresTheSecondHalfAndReplacesTheFirstToken) {
  const ScoredWindows w = scored_windows(counted(11), Convention::kLlamaCpp, 4, 99, "text");
  EXPECT_EQ(w.ids, (std::vector<Ids>{{99, 1, 2, 3}, {99, 5, 6, 7}}));
  EXPECT_EQ(w.first, 2);
  EXPECT_EQ(w.scored(), 2 * 1);
  const ScoredWindows odd = scored_windows(counted(15), Convention::kLlamaCpp, 5, 99, "text");
  EXPECT_EQ(odd.first, 2);
  EXPECT_EQ(odd.scored(), 3 * 2);
  const ScoredWindows usual = scored_windows(counted(1024), Convention::kLlamaCpp, 512, 99, "text");
  EXPECT_EQ(usual.first, 256);
  EXPECT_EQ(usual.scored(), 2 * 255);
}

TEST(Windows, WithoutABosTheFirstTokenStays) {
  const ScoredWindows w = scored_windows(counted(8), Convention::kLlamaCpp, 4, {}, "text");
  EXPECT_EQ(w.ids, (std::vector<Ids>{{0, 1, 2, 3}, {4, 5, 6, 7}}));
}

TEST(Windows, ATextThatIsTooShortIsAnError) {
  EXPECT_EQ(error_of(4, Convention::kHuggingFace, 4), "(no error)");
  EXPECT_EQ(error_of(3, Convention::kHuggingFace, 4),
            "book.txt: expected at least one window of 4 tokens, found 3 tokens");
  EXPECT_EQ(error_of(8, Convention::kLlamaCpp, 4), "(no error)");
  EXPECT_EQ(error_of(7, Convention::kLlamaCpp, 4),
            "book.txt: expected at least two windows of 4 tokens, found 7 tokens");
  EXPECT_EQ(error_of(100, Convention::kHuggingFace, 1),
            "context: expected at least 2 tokens, found 1");
  EXPECT_EQ(error_of(100, Convention::kLlamaCpp, 3),
            "context: expected at least 4 tokens, found 3");
}

TEST(Wikitext, RowsKeepTheirNewlineAndAreJoinedByBlankLines) {
  EXPECT_EQ(wikitext_as_scored(" \n = Robert Boulter = \n \n Robert Boulter is an English...\n"),
            "\n\n = Robert Boulter = \n\n\n\n\n Robert Boulter is an English...\n");
  // A paragraph followed by a blank line: five newlines; two on adjacent lines: three.
  EXPECT_EQ(wikitext_as_scored("a\n\nb\n"), "a\n\n\n\n\nb\n");
  EXPECT_EQ(wikitext_as_scored("a\nb\n"), "a\n\n\nb\n");
}

TEST(Wikitext, AllLineEndsAreOne) {
  const std::string expected = "a\n\n\n\n\nb \n";
  EXPECT_EQ(wikitext_as_scored("a\r\n\r\nb \r\n"), expected);
  EXPECT_EQ(wikitext_as_scored("a\r\rb \r"), expected);
  EXPECT_EQ(wikitext_as_scored("a\n\r\nb \r"), expected);
}

TEST(Wikitext, TheLastLineMayLackItsNewline) {
  EXPECT_EQ(wikitext_as_scored("a\nb"), "a\n\n\nb");
  EXPECT_EQ(wikitext_as_scored("a\n "), "a\n\n\n");
  EXPECT_EQ(wikitext_as_scored(""), "");
}

TEST(Wikitext, WhiteSpaceIsWhatPythonStrips) {
  // No-break, em and ideographic space, next line, line separator: white space.
  EXPECT_EQ(wikitext_as_scored("\t\v\f \xC2\xA0\xE2\x80\x83\xE3\x80\x80\xC2\x85\xE2\x80\xA8\nb"),
            "\n\nb");
  // Zero-width space and the byte order mark: not.
  EXPECT_EQ(wikitext_as_scored("\xE2\x80\x8B\n"), "\xE2\x80\x8B\n");
  EXPECT_EQ(wikitext_as_scored("\xEF\xBB\xBF\n"), "\xEF\xBB\xBF\n");
}

}  // namespace
}  // namespace watersic
