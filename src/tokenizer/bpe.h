// Byte-pair encoding: a vocabulary of strings and a ranked list of pairs that merge.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/json.h"

namespace watersic {

// Lets a map of strings be asked for a view.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

// Ids beyond this are taken for damage: they would only cost memory.
constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 1;

// Pairs of ids to what they become. Open addressing in one array: a long text that is one word (as
// SentencePiece's are) asks it a few times for every character.
class MergeTable {
 public:
  struct Merge {
    uint64_t pair = kNone;
    uint32_t rank = 0;  // the lowest goes first
    int32_t id = 0;     // of the joined token
  };

  explicit MergeTable(size_t count = 0);
  void insert(int32_t left, int32_t right, uint32_t rank, int32_t id);
  const Merge* find(int32_t left, int32_t right) const;

 private:
  static constexpr uint64_t kNone = ~uint64_t{0};
  size_t slot(uint64_t pair) const;

  std::vector<Merge> slots_;  // a power of two of them, at most half full
  int bits_ = 0;              // log2 of how many
};

class Bpe {
 public:
  // What one call to encode() keeps between words: buffers, and the words it has already seen.
  struct Workspace {
    struct Symbol {
      int32_t id;
      int32_t previous, next;  // symbols of the same word, or -1
      bool gone;               // merged into the one before it
    };
    struct Candidate {
      uint32_t rank;
      int32_t position;  // of the left symbol
      int32_t id;        // what the two become
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> queue;
    StringMap<std::vector<int32_t>> words;
  };

  // The field "model". Throws Error for a model of another type, for a setting that changes ids
  // and is not implemented, and for a broken vocabulary or merge, which it names.
  explicit Bpe(const JsonFields& model);

  // Appends the ids of one word (valid UTF-8, which may be a whole text). A character that has no
  // token becomes its bytes, or the unknown token, or nothing, as the model says.
  void encode(std::string_view word, Workspace& work, std::vector<int32_t>& ids) const;

  std::optional<int32_t> id(std::string_view token) const;
  // By id; empty strings where the vocabulary has gaps.
  const std::vector<std::string>& tokens() const { return tokens_; }
  // How many tokens there are, gaps not counted.
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }

 private:
  void read_vocabulary(const JsonFields& model);
  void read_merges(const JsonFields& model);
  void read_adjacent();
  bool may_merge_across(int32_t left, int32_t right) const;
  void encode_part(std::string_view part, Workspace& work, std::vector<int32_t>& ids) const;
  void start_symbols(std::string_view word, std::vector<Workspace::Symbol>& symbols) const;
  void merge_symbols(Workspace& work) const;

  StringMap<int32_t> ids_;
  std::vector<std::string> tokens_;
  MergeTable merges_;
  // Which pairs of characters stand side by side in some token: a bit for the hash of each. A bit
  // shared by another pair only costs a cut.
  std::vector<bool> adjacent_;
  std::array<int32_t, 256> byte_ids_;  // of "<0x00>" ...; -1 where there is none to fall back to
  int32_t unknown_ = -1;               // -1: there is none
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;  // a word that is a token is that token
};

}  // namespace watersic
