#include "tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "tokenizer/unicode.h"

namespace watersic {
namespace {

// Words longer than this do not come again often enough to be kept.
constexpr size_t kCachedWordBytes = 64;
constexpr size_t kCachedWords = 1 << 16;

constexpr int kPairBits = 22;

uint64_t pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
}

// Fibonacci hashing: the product's high bits depend on all bits of both.
size_t hash_of(uint64_t pair, int bits) { return (pair * 0x9E3779B97F4A7C15U) >> (64 - bits); }

}  // namespace

MergeTable::MergeTable(size_t count)
    : slots_(std::bit_ceil(2 * count + 2)), bits_(std::countr_zero(slots_.size())) {}

size_t MergeTable::slot(uint64_t pair) const {
  size_t i = hash_of(pair, bits_);
  while (slots_[i].pair != pair && slots_[i].pair != kNone) i = (i + 1) & (slots_.size() - 1);
  return i;
}

void MergeTable::insert(int32_t left, int32_t right, uint32_t rank, int32_t id) {
  const uint64_t pair = pair_of(left, right);
  slots_[slot(pair)] = {pair, rank, id};
}

const MergeTable::Merge* MergeTable::find(int32_t left, int32_t right) const {
  const Merge& merge = slots_[slot(pair_of(left, right))];
  return merge.pair == kNone ? nullptr : &merge;
}

Bpe::Bpe(const JsonFields& model) {
  // Files older than the field "type" are told by their merges.
  if (model.has("type") ? model.text("type") != "BPE" : !model.has("merges"))
    model.fail("type", "BPE");
  if (model.number("dropout", 0) != 0) model.fail("dropout", "null (dropout is not implemented)");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!model.text(affix, "").empty()) model.fail(affix, "null or empty (it is not implemented)");

  read_vocabulary(model);
  read_merges(model);
  read_adjacent();
  if (model.has("unk_token")) {
    unknown_ = id(model.text("unk_token")).value_or(-1);
    if (unknown_ < 0) model.fail("unk_token", "a token of the vocabulary");
  }
  fuse_unknown_ = model.boolean("fuse_unk", false);
  ignore_merges_ = model.boolean("ignore_merges", false);
  byte_ids_.fill(-1);
  if (model.boolean("byte_fallback", false)) {
    for (int byte = 0; byte < 256; ++byte)
      byte_ids_[byte] = id(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
}

void Bpe::read_vocabulary(const JsonFields& model) {
  const JsonFields vocabulary = model.object("vocab");
  ids_.reserve(vocabulary.json().size());
  for (const auto& [token, value] : vocabulary.json().items()) {
    if (!value.is_number_integer() || value < 0 || value > kMaxTokenId)
      vocabulary.fail(token, fmt::format("an id from 0 to {}", kMaxTokenId));
    const auto id = value.get<int32_t>();
    if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(id + 1);
    if (!tokens_[id].empty()) {
      throw Error(fmt::format("{}: expected one token for each id, found \"{}\" and \"{}\" with {}",
                              vocabulary.name(), tokens_[id], token, id));
    }
    if (token.empty()) vocabulary.fail(token, "no token without characters");
    tokens_[id] = token;
    ids_.emplace(token, id);
  }
  if (ids_.empty()) model.fail("vocab", "at least one token");
}

void Bpe::read_merges(const JsonFields& model) {
  const Json& merges = model.array("merges");
  merges_ = MergeTable(merges.size());
  uint32_t rank = 0;
  for (const Json& merge : merges) {
    const auto fail = [&](const std::string& why) {
      throw Error(fmt::format("{}: merges[{}]: {}, found {}", model.name(), rank, why,
                              merge.dump(-1, ' ', false, Json::error_handler_t::replace)));
    };
    std::string_view left, right;
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      // The head of a merges.txt, which some files carry along.
      if (text.starts_with("#version")) {
        ++rank;
        continue;
      }
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
        fail("expected two tokens with one space between them");
      left = std::string_view(text).substr(0, space);
      right = std::string_view(text).substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      left = merge[0].get_ref<const std::string&>();
      right = merge[1].get_ref<const std::string&>();
    } else {
      fail("expected two tokens");
    }
    const auto known = [&](std::string_view token) {
      const std::optional<int32_t> found = id(token);
      if (!found) fail(fmt::format("expected tokens of the vocabulary, \"{}\" is none", token));
      return *found;
    };
    const int32_t left_id = known(left), right_id = known(right);
    // Of two equal pairs the later one counts.
    merges_.insert(left_id, right_id, rank, known(std::string(left).append(right)));
    ++rank;
  }
}

std::optional<int32_t> Bpe::id(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

// A merge makes a token, so none reaches across two characters that no token has side by side.
void Bpe::read_adjacent() {
  adjacent_.resize(size_t{1} << kPairBits);
  for (const std::string& token : tokens_) {
    int32_t left = -1;
    for (size_t at = 0; at < token.size();) {
      const int32_t right = next_character(token, at);
      if (left >= 0) adjacent_[hash_of(pair_of(left, right), kPairBits)] = true;
      left = right;
    }
  }
}

// Characters without a token of their own are left out of this: what they become depends on what
// stands beside them.
bool Bpe::may_merge_across(int32_t left, int32_t right) const {
  if (adjacent_[hash_of(pair_of(left, right), kPairBits)]) return true;
  std::string text;
  append_character(text, left);
  if (!id(text)) return true;
  text.clear();
  append_character(text, right);
  return !id(text);
}

void Bpe::encode(std::string_view word, Workspace& work, std::vector<int32_t>& ids) const {
  if (word.size() >= INT32_MAX)
    throw Error(fmt::format("expected a word below 2^31 bytes, found {}", word.size()));
  if (ignore_merges_) {
    if (const std::optional<int32_t> whole = id(word)) {
      ids.push_back(*whole);
      return;
    }
  }
  // SentencePiece's words are whole texts. Cut where no merge can reach across, they are words
  // that come again, and the ids are the same.
  size_t begin = 0;
  if (word.size() > kCachedWordBytes) {
    size_t at = 0;
    int32_t left = next_character(word, at);
    while (at < word.size()) {
      const size_t end = at;
      const int32_t right = next_character(word, at);
      if (!may_merge_across(left, right)) {
        encode_part(word.substr(begin, end - begin), work, ids);
        begin = end;
      }
      left = right;
    }
  }
  encode_part(word.substr(begin), work, ids);
}

void Bpe::encode_part(std::string_view part, Workspace& work, std::vector<int32_t>& ids) const {
  const bool cached = part.size() <= kCachedWordBytes;
  if (cached) {
    if (const auto seen = work.words.find(part); seen != work.words.end()) {
      ids.insert(ids.end(), seen->second.begin(), seen->second.end());
      return;
    }
  }
  start_symbols(part, work.symbols);
  merge_symbols(work);
  const auto first = static_cast<std::ptrdiff_t>(ids.size());
  for (const Workspace::Symbol& symbol : work.symbols)
    if (!symbol.gone) ids.push_back(symbol.id);
  if (cached && work.words.size() < kCachedWords)
    work.words.emplace(part, std::vector<int32_t>(ids.begin() + first, ids.end()));
}

void Bpe::start_symbols(std::string_view word, std::vector<Workspace::Symbol>& symbols) const {
  symbols.clear();
  const auto add = [&](int32_t id) {
    const auto at = static_cast<int32_t>(symbols.size());
    if (at > 0) symbols.back().next = at;
    symbols.push_back({id, at - 1, -1, false});
  };
  // An unknown token waits for the next character that is known or unknown, to fuse with it, but
  // not for one that falls back to bytes, which so come before it. That is Hugging Face's order.
  bool unknown_waits = false;
  const auto byte_id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    next_character(word, at);
    const std::string_view character = word.substr(begin, at - begin);
    if (const int32_t known = id(character).value_or(-1); known >= 0) {
      if (unknown_waits) add(unknown_);
      unknown_waits = false;
      add(known);
    } else if (std::all_of(character.begin(), character.end(),
                           [&](char byte) { return byte_id(byte) >= 0; })) {
      for (const char byte : character) add(byte_id(byte));
    } else if (unknown_ >= 0) {
      if (unknown_waits && !fuse_unknown_) add(unknown_);
      unknown_waits = true;
    }
  }
  if (unknown_waits) add(unknown_);
}

// Merges the pair of the lowest rank, the leftmost of these, until none is left. A heap of
// candidates and a linked list of symbols: n log n for a word of any length. Candidates that a
// merge has made stale stay in the heap; they are told by what their pair would become now.
void Bpe::merge_symbols(Workspace& work) const {
  std::vector<Workspace::Symbol>& symbols = work.symbols;
  std::vector<Workspace::Candidate>& queue = work.queue;
  const auto later = [](const Workspace::Candidate& a, const Workspace::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto pair_at = [&](int32_t position) {
    return merges_.find(symbols[position].id, symbols[symbols[position].next].id);
  };

  queue.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    const auto position = static_cast<int32_t>(i);
    if (const auto* merge = pair_at(position)) queue.push_back({merge->rank, position, merge->id});
  }
  std::make_heap(queue.begin(), queue.end(), later);
  const auto push = [&](int32_t position) {
    if (const auto* merge = pair_at(position)) {
      queue.push_back({merge->rank, position, merge->id});
      std::push_heap(queue.begin(), queue.end(), later);
    }
  };

  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), later);
    const Workspace::Candidate top = queue.back();
    queue.pop_back();
    Workspace::Symbol& left = symbols[top.position];
    if (left.gone || left.next < 0) continue;
    const auto* merge = pair_at(top.position);
    if (merge == nullptr || merge->id != top.id) continue;

    Workspace::Symbol& right = symbols[left.next];
    left.id = top.id;
    left.next = right.next;
    right.gone = true;
    if (left.next >= 0) symbols[left.next].previous = top.position;
    if (left.previous >= 0) push(left.previous);
    if (left.next >= 0) push(top.position);
  }
}

}  // namespace watersic
