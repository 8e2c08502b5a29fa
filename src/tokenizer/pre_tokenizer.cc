#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tokenizer/byte_level.h"
#include "tokenizer/pattern.h"

namespace watersic {
namespace {

struct Part {
  Span span;
  bool is_match;
};

// The parts that stay together become one. Walks `parts` in its order; `previous_is_match` of the
// first part is false, as Hugging Face has it.
template <class Joins>
void join_parts(std::vector<Part>& parts, const Joins& joins) {
  size_t kept = 0;
  bool previous_is_match = false;
  for (const Part part : parts) {
    if (kept > 0 && joins(part.is_match, previous_is_match)) {
      Span& last = parts[kept - 1].span;
      last = {std::min(last.begin, part.span.begin), std::max(last.end, part.span.end)};
    } else {
      parts[kept++] = part;
    }
    previous_is_match = part.is_match;
  }
  parts.resize(kept);
}

void apply(SplitBehavior behavior, std::vector<Part>& parts) {
  const auto match_after_other = [](bool match, bool previous) { return match && !previous; };
  switch (behavior) {
    case SplitBehavior::kIsolated:
      break;
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Part& part) { return part.is_match; });
      break;
    case SplitBehavior::kContiguous:
      join_parts(parts, [](bool match, bool previous) { return match == previous; });
      break;
    case SplitBehavior::kMergedWithPrevious:
      join_parts(parts, match_after_other);
      break;
    case SplitBehavior::kMergedWithNext:
      std::reverse(parts.begin(), parts.end());
      join_parts(parts, match_after_other);
      std::reverse(parts.begin(), parts.end());
      break;
  }
}

// Writes every piece anew: write(piece, is_first, out) appends it to `out`.
template <class Write>
void rewrite(Pieces& pieces, const Write& write) {
  std::string text;
  text.reserve(pieces.text.size() + pieces.text.size() / 8);
  for (Span& span : pieces.spans) {
    const size_t begin = text.size();
    write(pieces.piece(span), pieces.at_start && &span == &pieces.spans.front(), text);
    check_growth(text.size(), pieces.most);
    span = {begin, text.size()};
  }
  pieces.text = std::move(text);
}

void add_prefix(Pieces& pieces, std::string_view prefix, bool first_only) {
  rewrite(pieces, [&](std::string_view piece, bool first, std::string& out) {
    if (!piece.starts_with(prefix) && (first || !first_only)) out += prefix;
    out += piece;
  });
}

SplitBehavior behavior_of(const JsonFields& fields) {
  static const std::array<std::pair<const char*, SplitBehavior>, 5> kNames = {
      {{"Removed", SplitBehavior::kRemoved},
       {"Isolated", SplitBehavior::kIsolated},
       {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
       {"MergedWithNext", SplitBehavior::kMergedWithNext},
       {"Contiguous", SplitBehavior::kContiguous}}};
  const std::string text = fields.text("behavior");
  for (const auto& [name, behavior] : kNames)
    if (text == name) return behavior;
  fields.fail("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

}  // namespace

void split(Pieces& pieces, const Regex& pattern, SplitBehavior behavior, bool invert) {
  std::vector<Span> spans, matches;
  std::vector<Part> parts;
  for (const Span& piece : pieces.spans) {
    pattern.find_all(pieces.piece(piece), matches);
    parts.clear();
    size_t at = piece.begin;
    const auto between = [&](size_t end) {
      if (at < end) parts.push_back({{at, end}, invert});
    };
    for (const Span& match : matches) {
      between(piece.begin + match.begin);
      at = piece.begin + match.end;
      parts.push_back({{piece.begin + match.begin, at}, !invert});
    }
    between(piece.end);
    apply(behavior, parts);
    for (const Part& part : parts)
      if (part.span.begin < part.span.end) spans.push_back(part.span);
  }
  pieces.at_start &= !spans.empty() && spans.front().begin == pieces.spans.front().begin;
  pieces.spans = std::move(spans);
}

PreTokenizer::PreTokenizer(const JsonFields& fields) { add(fields); }

void PreTokenizer::add(const JsonFields& fields) {
  const std::string type = fields.text("type");
  const auto add_split = [&](Regex regex, SplitBehavior behavior, bool invert = false) {
    steps_.emplace_back([regex = std::move(regex), behavior, invert](Pieces& pieces) {
      split(pieces, regex, behavior, invert);
    });
  };
  const auto add_fixed_split = [&](const char* regex, SplitBehavior behavior, bool invert = false) {
    add_split(Regex(regex, fields.name()), behavior, invert);
  };
  if (type == "Sequence") {
    for (const JsonFields& part : fields_of(fields, "pretokenizers")) add(part);
  } else if (type == "Split") {
    add_split(pattern_of(fields), behavior_of(fields), fields.boolean("invert", false));
  } else if (type == "ByteLevel") {
    if (fields.boolean("add_prefix_space", true))
      steps_.emplace_back([](Pieces& pieces) { add_prefix(pieces, " ", false); });
    if (fields.boolean("use_regex", true)) {
      add_fixed_split(
          "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
          SplitBehavior::kIsolated);
    }
    steps_.emplace_back([](Pieces& pieces) {
      rewrite(pieces, [](std::string_view piece, bool, std::string& out) {
        append_byte_characters(out, piece);
      });
    });
  } else if (type == "Metaspace") {
    const std::string mark = fields.text("replacement");
    if (mark.empty()) fields.fail("replacement", "a character");
    std::string scheme = fields.text("prepend_scheme", "always");
    if (scheme != "always" && scheme != "first" && scheme != "never")
      fields.fail("prepend_scheme", "always, first or never");
    // Before there was a scheme, add_prefix_space said whether.
    if (!fields.boolean("add_prefix_space", true)) {
      if (fields.has("prepend_scheme") && scheme != "never")
        fields.fail("add_prefix_space", "what prepend_scheme says");
      scheme = "never";
    }
    steps_.emplace_back([mark, space = Regex::literal(" ")](Pieces& pieces) {
      rewrite(pieces, [&](std::string_view piece, bool, std::string& out) {
        out += space.replace_all(piece, mark, pieces.most);
      });
    });
    if (scheme != "never") {
      steps_.emplace_back([mark, first_only = scheme == "first"](Pieces& pieces) {
        add_prefix(pieces, mark, first_only);
      });
    }
    if (fields.boolean("split", true))
      add_split(Regex::literal(mark), SplitBehavior::kMergedWithNext);
  } else if (type == "Digits") {
    add_fixed_split("\\p{N}", fields.boolean("individual_digits", false)
                                  ? SplitBehavior::kIsolated
                                  : SplitBehavior::kContiguous);
  } else if (type == "WhitespaceSplit") {
    add_fixed_split("\\s", SplitBehavior::kRemoved);
  } else if (type == "Whitespace") {
    // Rust's \w, which is not Oniguruma's.
    constexpr const char* kWords =
        "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]+"
        "|[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}\\s]+";
    add_fixed_split(kWords, SplitBehavior::kRemoved, true);
  } else if (type == "Punctuation") {
    add_fixed_split("[\\p{P}$+<=>^`|~]",
                    fields.has("behavior") ? behavior_of(fields) : SplitBehavior::kIsolated);
  } else if (type == "CharDelimiterSplit") {
    if (fields.text("delimiter").empty()) fields.fail("delimiter", "a character");
    add_split(Regex::literal(fields.text("delimiter")), SplitBehavior::kRemoved);
  } else {
    fields.fail("type", "a pre-tokenizer that is implemented");
  }
}

Pieces PreTokenizer::operator()(std::string text, bool at_start) const {
  Pieces pieces;
  pieces.text = std::move(text);
  pieces.most = most_bytes(pieces.text.size());
  if (!pieces.text.empty()) pieces.spans.push_back({0, pieces.text.size()});
  pieces.at_start = at_start;
  for (const Step& step : steps_) step(pieces);
  return pieces;
}

}  // namespace watersic
