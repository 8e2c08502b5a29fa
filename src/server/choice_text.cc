#include "server/choice_text.h"

#include <algorithm>
#include <iterator>

namespace watersic {
namespace {

// The longest end of the text with which a stop begins.
size_t begun_stop(const std::string& text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t length = std::min(stop.size() - 1, text.size()); length > longest; --length) {
      if (text.ends_with(std::string_view(stop).substr(0, length))) {
        longest = length;
        break;
      }
    }
  }
  return longest;
}

int64_t characters_of(const std::string& utf8) {
  return std::ranges::count_if(utf8, [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

void TextPiece::append(TextPiece&& next) {
  text += next.text;
  tokens.insert(tokens.end(), std::make_move_iterator(next.tokens.begin()),
                std::make_move_iterator(next.tokens.end()));
}

TextPiece ChoiceText::give(const std::string& bytes, bool last) {
  TextPiece piece;
  held_ += bytes;
  known_ += static_cast<int64_t>(bytes.size());
  characters_ += characters_of(bytes);
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) end = std::min(end, held_.find(stop));
  stopped_ = end != std::string::npos;
  if (!stopped_) end = held_.size() - (last ? 0 : begun_stop(held_, stops_));
  piece.text = held_.substr(0, end);
  held_.erase(0, end);
  given_ += static_cast<int64_t>(end);
  while (!pending_.empty() && (pending_.front().byte < given_ || (last && !stopped_))) {
    piece.tokens.push_back(std::move(pending_.front().token));
    pending_.pop_front();
  }
  return piece;
}

TextPiece ChoiceText::push(const WrittenToken& token) {
  if (tells_tokens_)
    pending_.push_back({.token = {.token = token, .character = characters_}, .byte = known_});
  return give(utf8_.push(tokenizer_->token_bytes(token.id)), false);
}

TextPiece ChoiceText::finish() { return give(utf8_.finish(), true); }

}  // namespace watersic
