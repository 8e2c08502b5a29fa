#include "tokenizer/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

namespace watersic {
namespace {

using Pattern = std::pair<std::string, AddedToken>;

// Rust's \w at the end or the start of a text.
bool ends_with_word(std::string_view text) {
  static const Regex word("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]", "\\w");
  if (text.empty()) return false;
  size_t begin = text.size() - 1;
  while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  std::vector<Span> matches;
  word.find_all(text.substr(begin), matches);
  return !matches.empty();
}
bool starts_with_word(std::string_view text) {
  size_t end = 0;
  if (text.empty()) return false;
  next_character(text, end);
  return ends_with_word(text.substr(0, end));
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<Pattern>& patterns, const std::string& name) {
  for (const Pattern& pattern : patterns)
    if (!pattern.first.empty()) patterns_.push_back(pattern);
  std::sort(patterns_.begin(), patterns_.end(),
            [](const Pattern& a, const Pattern& b) { return a.first < b.first; });
  for (size_t i = 1; i < patterns_.size(); ++i) {
    if (patterns_[i].first == patterns_[i - 1].first) {
      throw Error(
          fmt::format("{}: added_tokens: expected tokens that the normalizer leaves different, "
                      "found \"{}\" and "
                      "\"{}\"",
                      name, patterns_[i - 1].second.content, patterns_[i].second.content));
    }
  }
  for (size_t i = 0; i < patterns_.size(); ++i) {
    Span& range = by_first_byte_[static_cast<unsigned char>(patterns_[i].first[0])];
    if (range.begin == range.end) range.begin = i;
    range.end = i + 1;
  }
}

const Pattern* AddedTokenFinder::longest_at(std::string_view text, size_t at) const {
  auto [begin, end] = by_first_byte_[static_cast<unsigned char>(text[at])];
  const Pattern* longest = nullptr;
  // Patterns [begin, end) agree with the text in their first `depth` bytes. They are sorted, so
  // one that ends here is the first of them.
  for (size_t depth = 1; begin < end; ++depth) {
    if (patterns_[begin].first.size() == depth) longest = &patterns_[begin++];
    if (at + depth == text.size()) break;
    const auto byte = static_cast<unsigned char>(text[at + depth]);
    const auto first = patterns_.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = patterns_.begin() + static_cast<std::ptrdiff_t>(end);
    const auto low = std::partition_point(first, last, [&](const Pattern& p) {
      return static_cast<unsigned char>(p.first[depth]) < byte;
    });
    const auto high = std::partition_point(low, last, [&](const Pattern& p) {
      return static_cast<unsigned char>(p.first[depth]) == byte;
    });
    begin = static_cast<size_t>(low - patterns_.begin());
    end = static_cast<size_t>(high - patterns_.begin());
  }
  return longest;
}

std::vector<AddedTokenFinder::Stretch> AddedTokenFinder::cut(std::string_view text) const {
  std::vector<Stretch> out;
  size_t done = 0;  // what `out` covers
  size_t space_end =
      0;  // of the last white space that was looked through: not again for each token
  for (size_t at = 0; at < text.size();) {
    const Pattern* found = longest_at(text, at);
    if (found == nullptr) {
      ++at;
      continue;
    }
    const AddedToken& token = found->second;
    size_t begin = at, end = at + found->first.size();
    // The search goes on behind the token itself, even where the token is not taken or takes
    // more than itself along: as Hugging Face's does.
    at = end;
    if (token.single_word &&
        (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end))))
      continue;
    if (token.left_strip)
      begin = begin <= done ? done
                            : done + without_trailing_space(text.substr(done, begin - done)).size();
    if (token.right_strip) {
      if (end >= space_end)
        space_end = text.size() - without_leading_space(text.substr(end)).size();
      end = space_end;
    }
    if (done < begin) out.push_back({{done, begin}, -1});
    // The token before may have taken all of this one, where that is white space.
    if (begin < end) out.push_back({{begin, end}, token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({{done, text.size()}, -1});
  return out;
}

std::vector<AddedToken> read_added_tokens(const JsonFields& tokenizer, const Bpe& model) {
  std::vector<AddedToken> tokens;
  if (!tokenizer.has("added_tokens")) return tokens;
  StringMap<int32_t> seen;
  int64_t next_id = model.size();
  for (const JsonFields& fields : fields_of(tokenizer, "added_tokens")) {
    AddedToken token;
    token.content = fields.text("content");
    token.special = fields.boolean("special", false);
    token.normalized = fields.boolean("normalized", !token.special);
    token.single_word = fields.boolean("single_word", false);
    token.left_strip = fields.boolean("lstrip", false);
    token.right_strip = fields.boolean("rstrip", false);
    if (token.content.empty()) fields.fail("content", "a token that is not empty");
    const int64_t stated = fields.integer("id");
    const std::optional<int32_t> in_model = model.id(token.content);
    const int64_t id = in_model.value_or(static_cast<int32_t>(next_id));
    if (stated != id || id > kMaxTokenId) {
      fields.fail("id", fmt::format("{} ({}) for \"{}\"", id,
                                    in_model ? "its id in the vocabulary" : "the next free id",
                                    token.content));
    }
    if (!seen.emplace(token.content, 0).second) fields.fail("content", "each token once");
    if (!in_model) ++next_id;
    token.id = static_cast<int32_t>(id);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace watersic
