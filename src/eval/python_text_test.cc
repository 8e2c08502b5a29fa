#include "eval/python_text.h"

#include <gtest/gtest.h>

namespace watersic {
namespace {

TEST(PythonText, StripsWhatPythonDoes) {
  EXPECT_EQ(strip(" \t\n a b \r\n"), "a b");
  EXPECT_EQ(strip("\x1C \x1F\xC2\xA0x\xE3\x80\x80\x1E"), "x");
  EXPECT_EQ(strip("\xE2\x80\x8Bx"), "\xE2\x80\x8Bx");  // a zero-width space is none
  EXPECT_EQ(strip_end("  a \x1D "), "  a");
  EXPECT_EQ(strip(" \x1C "), "");
  EXPECT_EQ(strip(""), "");
}

// As Python 3 gives them.
TEST(PythonText, Capitalizes) {
  EXPECT_EQ(capitalize("hELLO wORLD"), "Hello world");
  EXPECT_EQ(capitalize("émile ZOLA"), "Émile zola");
  EXPECT_EQ(capitalize("ǆungla"), "ǅungla");
  EXPECT_EQ(capitalize(" X"), " x");
  EXPECT_EQ(capitalize(""), "");
}

TEST(PythonText, ReplacesFromTheLeft) {
  EXPECT_EQ(replace_all("a   b", "  ", " "), "a  b");
  EXPECT_EQ(replace_all("    ", "  ", " "), "  ");
  EXPECT_EQ(replace_all("aaa", "a", "aa"), "aaaaaa");
  EXPECT_EQ(replace_all("", "a", "b"), "");
}

TEST(PythonText, CountsCharacters) {
  EXPECT_EQ(length("naïve"), 5);
  EXPECT_EQ(length("日本"), 2);
  EXPECT_EQ(length(""), 0);
}

}  // namespace
}  // namespace watersic
