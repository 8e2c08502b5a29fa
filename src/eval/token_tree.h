// Many token sequences at once, where what they share is computed once: the prompt before all
// choices of a question, the examples before all questions of a subject.
//
// The sequences' tokens are rows of one batch. To the linear layers they are so many tokens; in
// attention a row sees its own sequence only, which may begin in rows that other sequences share.
// Keys and values of a shared beginning are therefore never stored beyond the block that is being
// computed, and no cache is copied.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/context.h"
#include "model/forward.h"
#include "watersic/scoring.h"

namespace watersic {

class TokenTree {
 public:
  // Rows [begin, begin + count), of consecutive tokens of a sequence. `parent` is the row of the
  // token before the first; -1 where there is none.
  struct Segment {
    int64_t begin = 0, count = 0, parent = -1;
  };

  // The row of each token. The tokens that the sequence begins with as the last one did share its
  // rows; sequences must come in an order that makes use of it. The span is good until the next
  // call.
  std::span<const int64_t> add(std::span<const int32_t> tokens);
  // The rows that add() would make.
  int64_t new_rows(std::span<const int32_t> tokens) const;

  int64_t rows() const { return static_cast<int64_t>(ids_.size()); }
  const std::vector<int32_t>& ids() const { return ids_; }
  const std::vector<int64_t>& positions() const { return positions_; }  // in their sequences
  const std::vector<Segment>& segments() const { return segments_; }
  // All that a segment's sequence holds before it, as ranges of rows in their order (parent
  // unused).
  std::vector<Segment> before(const Segment& segment) const;

 private:
  size_t shared(std::span<const int32_t> tokens) const;

  std::vector<int32_t> ids_;
  std::vector<int64_t> positions_;
  std::vector<size_t> segment_of_;  // by row
  std::vector<Segment> segments_;
  std::vector<int64_t> last_;  // rows of the sequence added last
};

// The last block's output for all rows: rows x hidden. The context is told of each block.
// Values may depend in their last bit on what else is in the tree, never on the threads.
Matrix<float> forward_tree(const Context& context, const ForwardModel& model,
                           const TokenTree& tree);

// Rows of a tree, in values of its hidden states (128 MiB): a block's intermediate results take
// five times as much. A model's weights are read once for each tree.
constexpr int64_t kTreeValues = int64_t{1} << 25;

// Of each sequence's scored tokens. Sequences share their beginnings with the one before them.
// Progress is in tokens that are computed. Throws Error where ids are not below the vocabulary.
std::vector<std::vector<ScoredToken>> score_sequences(const Context& context,
                                                      const ForwardModel& model,
                                                      std::span<const ScoredSequence> sequences,
                                                      int64_t tree_values = kTreeValues);

}  // namespace watersic
