#include "report/html.h"

#include <gtest/gtest.h>

namespace watersic::report {
namespace {

TEST(Html, EscapesWhatMarkupMeansSomethingBy) {
  EXPECT_EQ(escape("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(escape("γ × Δ\n\t"), "γ × Δ\n\t");
  EXPECT_EQ(escape(std::string_view("\0\x1b\x7f", 3)), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Html, AHeadCutsNoCharacter) {
  EXPECT_EQ(head_of("abcdef", 3), "abc");
  EXPECT_EQ(head_of("aγγ", 2), "a");
  EXPECT_EQ(head_of("aγγ", 3), "aγ");
  EXPECT_EQ(head_of("aγγ", 9), "aγγ");
  EXPECT_EQ(head_of("γ", 1), "");
}

TEST(Html, EscapesEveryStringButNotItself) {
  const std::string text = "<i>";
  const Html inside = html("<b title=\"{}\">{}</b>", "\"", text);
  EXPECT_EQ(inside.markup(), "<b title=\"&quot;\">&lt;i&gt;</b>");
  EXPECT_EQ(html("<p>{} {} {:.2f}</p>", inside, 3, 0.125).markup(),
            "<p><b title=\"&quot;\">&lt;i&gt;</b> 3 0.12</p>");
  // Braces in what is inserted are no placeholders.
  EXPECT_EQ(html("{}", "{0}{}").markup(), "{0}{}");
}

}  // namespace
}  // namespace watersic::report
