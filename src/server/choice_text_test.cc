#include "server/choice_text.h"

#include <gtest/gtest.h>

namespace watersic {
namespace {

const Tokenizer& books_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::load(WATERSIC_SOURCE_DIR "/models/books-llama");
  return tokenizer;
}

// All that comes of a text whose tokens come one by one.
struct Told {
  TextPiece all;
  std::vector<std::string> pieces;
  bool stopped = false;
};
Told tell(const std::vector<int32_t>& ids, const std::vector<std::string>& stops) {
  ChoiceText text(books_tokenizer(), stops, true);
  Told told;
  const auto add = [&](TextPiece piece) {
    if (!piece.text.empty()) told.pieces.push_back(piece.text);
    told.all.append(std::move(piece));
  };
  for (const int32_t id : ids) {
    add(text.push({.id = id, .likelihoods = {}}));
    if (text.stopped()) break;
  }
  if (!text.stopped()) add(text.finish());
  told.stopped = text.stopped();
  return told;
}
Told tell(const std::string& words, const std::vector<std::string>& stops) {
  return tell(books_tokenizer().encode(words, false), stops);
}

const std::string kWords = "It was the best of times, it was the worst of times";

TEST(ChoiceText, WithoutStopsComesAsItIs) {
  const std::vector<int32_t> ids = books_tokenizer().encode(kWords, false);
  const Told told = tell(kWords, {});
  EXPECT_EQ(told.all.text, kWords);
  EXPECT_EQ(told.pieces.size(), ids.size());
  ASSERT_EQ(told.all.tokens.size(), ids.size());
  int64_t character = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(told.all.tokens[i].token.id, ids[i]);
    EXPECT_EQ(told.all.tokens[i].character, character);
    character += static_cast<int64_t>(books_tokenizer().token_bytes(ids[i]).size());
  }
}

TEST(ChoiceText, EndsBeforeTheFirstStop) {
  for (const auto& [stops, expected] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"times"}, "It was the best of "},
           {{"worst", "the"}, "It was "},
           {{"mes, it w"}, "It was the best of ti"},
           {{"It"}, ""},
           {{"xyz", "t of times."}, kWords},
           {{"of times, it was the b", "was the worst o"}, "It was the best of times, it "}}) {
    const Told told = tell(kWords, stops);
    EXPECT_EQ(told.all.text, expected);
    EXPECT_EQ(told.stopped, expected != kWords);
    for (const PlacedToken& placed : told.all.tokens)
      EXPECT_LT(placed.character, static_cast<int64_t>(expected.size()));
    EXPECT_EQ(told.all.tokens.empty(), expected.empty());
  }
}

TEST(ChoiceText, GivesOutWhatNoStopCanTakeBack) {
  ChoiceText text(books_tokenizer(), {"abcabd"}, false);
  std::string given;
  for (const char c : std::string("abcabcabd!")) {
    const auto ids = books_tokenizer().encode(std::string(1, c), false);
    for (const int32_t id : ids) given += text.push({.id = id, .likelihoods = {}}).text;
    if (text.stopped()) break;
  }
  EXPECT_TRUE(text.stopped());
  EXPECT_EQ(given, "abc");
  EXPECT_EQ(text.finish().text, "");
}

TEST(ChoiceText, PiecesAreWholeCharacters) {
  const std::string words = "na\u00efve \u2014 \U0001F600\u00e9";
  const Told told = tell(words, {});
  EXPECT_EQ(told.all.text, words);
  for (const std::string& piece : told.pieces)
    EXPECT_EQ(find_invalid_utf8(piece), std::string::npos);
  // A character that is cut at the end is one that is replaced.
  std::vector<int32_t> ids = books_tokenizer().encode("\U0001F600", false);
  ASSERT_GT(ids.size(), 1U);
  ids.pop_back();
  const Told cut = tell(ids, {});
  EXPECT_EQ(find_invalid_utf8(cut.all.text), std::string::npos);
  EXPECT_EQ(cut.all.tokens.size(), ids.size());
}

}  // namespace
}  // namespace watersic
