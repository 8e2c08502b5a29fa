#include "eval/token_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "eval/score.h"
#include "linalg/blas.h"
#include "model/forward.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr int64_t kLogitRows = 256;  // whose logits are in memory at once

// A row sees its own sequence only, which may begin in rows that other sequences share.
class TreeAttention final : public Attention {
 public:
  TreeAttention(const ModelConfig& config, const TokenTree& tree) : config_(config), tree_(tree) {}

  std::span<const int64_t> positions() const override { return tree_.positions(); }
  Matrix<float> mix(ThreadPool& pool, int64_t /*block*/, const Heads& heads) override {
    Matrix<float> H(heads.Q.rows(), config_.query_size());
    const auto segments = static_cast<int64_t>(tree_.segments().size());
    pool.parallel_for(segments * config_.kv_heads, [&](int64_t tile) {
      attend(pool, tree_.segments()[static_cast<size_t>(tile / config_.kv_heads)],
             tile % config_.kv_heads, heads, H);
    });
    return H;
  }

 private:
  // A segment's rows for one key head and the query heads that share it. `Q` and `out`: all rows.
  void attend(ThreadPool& pool, const TokenTree::Segment& segment, int64_t key_head,
              const Heads& heads, MatrixView<float> out) const {
    const int64_t d = config_.head_dim, group = config_.heads / config_.kv_heads;
    std::vector<TokenTree::Segment> ranges = tree_.before(segment);
    ranges.push_back(segment);
    const int64_t first = tree_.positions()[static_cast<size_t>(segment.begin)];
    Matrix<float> K(first + segment.count, d), V(first + segment.count, d);
    int64_t row = 0;
    for (const TokenTree::Segment& range : ranges) {
      for (int64_t r = range.begin; r < range.begin + range.count; ++r, ++row) {
        const auto at = static_cast<size_t>(key_head * d), size = static_cast<size_t>(d);
        std::ranges::copy(heads.K.row(r).subspan(at, size), K.row(row).begin());
        std::ranges::copy(heads.V.row(r).subspan(at, size), V.row(row).begin());
      }
    }
    Matrix<float> buffer(std::min(kQueryTile, segment.count), K.rows());
    for (int64_t head = key_head * group; head < (key_head + 1) * group; ++head) {
      for (int64_t begin = 0; begin < segment.count; begin += kQueryTile) {
        const int64_t rows = std::min(kQueryTile, segment.count - begin);
        const int64_t before = first + begin, seen = before + rows;
        const MatrixView<float> P = buffer.view().block(0, 0, rows, seen);
        attention_weights(pool, heads.Q.view().block(segment.begin + begin, head * d, rows, d),
                          K.view().block(0, 0, seen, d), before, P);
        gemm(pool, Op::kNone, Op::kNone, 1.0F, P, V.view().block(0, 0, seen, d), 0.0F,
             out.block(segment.begin + begin, head * d, rows, d));
      }
    }
  }

  const ModelConfig& config_;
  const TokenTree& tree_;
};

// A token to be scored: the row that predicts it, and where its figure goes.
struct Target {
  int64_t row = 0;
  int32_t token = 0;
  ScoredToken* score = nullptr;
};

void score_targets(ThreadPool& pool, const ForwardModel& model, MatrixView<const float> X,
                   std::vector<Target> targets) {
  std::ranges::stable_sort(targets, {}, &Target::row);
  // Each row's logits are computed once, however many sequences ask for them.
  std::vector<size_t> begins;  // of the targets of one row
  for (size_t i = 0; i < targets.size(); ++i)
    if (i == 0 || targets[i].row != targets[i - 1].row) begins.push_back(i);
  const auto count = static_cast<int64_t>(begins.size());
  begins.push_back(targets.size());
  for (int64_t from = 0; from < count; from += kLogitRows) {
    const int64_t rows = std::min(kLogitRows, count - from);
    Matrix<float> gathered(rows, X.cols());
    for (int64_t i = 0; i < rows; ++i)
      std::ranges::copy(X.row(targets[begins[static_cast<size_t>(from + i)]].row),
                        gathered.row(i).begin());
    const Matrix<float> logits = model.logits(pool, gathered);
    pool.parallel_for(rows, [&](int64_t i) {
      const auto row = logits.row(i);
      const double normaliser = log_sum_exp(row);
      const auto likeliest = static_cast<size_t>(std::ranges::max_element(row) - row.begin());
      for (size_t t = begins[static_cast<size_t>(from + i)];
           t < begins[static_cast<size_t>(from + i + 1)]; ++t) {
        const auto token = static_cast<size_t>(targets[t].token);
        *targets[t].score = {.log_probability = static_cast<double>(row[token]) - normaliser,
                             .likeliest = token == likeliest};
      }
    });
  }
}

// The last token predicts nothing that is asked for.
std::span<const int32_t> inputs_of(const ScoredSequence& sequence) {
  assert(sequence.first > 0 && sequence.first < sequence.tokens.size());
  return std::span(sequence.tokens).first(sequence.tokens.size() - 1);
}

}  // namespace

size_t TokenTree::shared(std::span<const int32_t> tokens) const {
  size_t i = 0;
  while (i < tokens.size() && i < last_.size() && ids_[static_cast<size_t>(last_[i])] == tokens[i])
    ++i;
  return i;
}

int64_t TokenTree::new_rows(std::span<const int32_t> tokens) const {
  return static_cast<int64_t>(tokens.size() - shared(tokens));
}

std::span<const int64_t> TokenTree::add(std::span<const int32_t> tokens) {
  last_.resize(shared(tokens));
  for (size_t i = last_.size(); i < tokens.size(); ++i) {
    const int64_t row = rows(), parent = last_.empty() ? -1 : last_.back();
    if (row == 0 || parent != row - 1) segments_.push_back({.begin = row, .parent = parent});
    ++segments_.back().count;
    ids_.push_back(tokens[i]);
    positions_.push_back(static_cast<int64_t>(i));
    segment_of_.push_back(segments_.size() - 1);
    last_.push_back(row);
  }
  return last_;
}

std::vector<TokenTree::Segment> TokenTree::before(const Segment& segment) const {
  std::vector<Segment> ranges;
  for (int64_t row = segment.parent; row >= 0; row = ranges.back().parent) {
    const Segment& holder = segments_[segment_of_[static_cast<size_t>(row)]];
    ranges.push_back(
        {.begin = holder.begin, .count = row + 1 - holder.begin, .parent = holder.parent});
  }
  std::ranges::reverse(ranges);
  return ranges;
}

Matrix<float> forward_tree(const Context& context, const ForwardModel& model,
                           const TokenTree& tree) {
  ThreadPool& pool = context.pool();
  const ModelConfig& config = model.config();
  const int64_t rows = tree.rows();
  Matrix<float> X = model.embed(pool, tree.ids());
  if (rows == 0) return X;
  const RopeTable rope(config, *std::ranges::max_element(tree.positions()) + 1);
  TreeAttention attention(config, tree);
  for (int64_t block = 0; block < config.blocks; ++block) {
    forward_block(pool, config, rope, *model.block(pool, block), rows, attention, X);
    context.tell("forward", "blocks", block + 1, config.blocks);
  }
  return X;
}

std::vector<std::vector<ScoredToken>> score_sequences(const Context& context,
                                                      const ForwardModel& model,
                                                      std::span<const ScoredSequence> sequences,
                                                      int64_t tree_values) {
  // How many sequences go into each tree, and how many rows there will be in all.
  const int64_t most = std::max<int64_t>(1, tree_values / model.config().hidden);
  std::vector<size_t> ends;
  int64_t total = 0, done = 0;
  {
    TokenTree tree;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const int64_t more = tree.new_rows(inputs_of(sequences[i]));
      if (tree.rows() > 0 && more > 0 && tree.rows() + more > most) {
        ends.push_back(i);
        total += tree.rows();
        tree = {};
      }
      tree.add(inputs_of(sequences[i]));
    }
    ends.push_back(sequences.size());
    total += tree.rows();
  }

  std::vector<std::vector<ScoredToken>> result(sequences.size());
  size_t begin = 0;
  for (const size_t end : ends) {
    TokenTree tree;
    std::vector<Target> targets;
    for (size_t i = begin; i < end; ++i) {
      const auto& [tokens, first] = sequences[i];
      const auto rows = tree.add(inputs_of(sequences[i]));
      result[i].resize(tokens.size() - first);
      for (size_t t = first; t < tokens.size(); ++t) {
        if (tokens[t] < 0 || tokens[t] >= model.config().vocabulary) {
          throw Error(fmt::format("expected token ids below the vocabulary's {}, found {}",
                                  model.config().vocabulary, tokens[t]));
        }
        targets.push_back({rows[t - 1], tokens[t], &result[i][t - first]});
      }
    }
    const Context answering = context.changed([&](ProgressEvent& event) {
      event = {.stage = "answering",
               .unit = "tokens",
               .done = done + tree.rows() * event.done / event.total,
               .total = total,
               .detail = ""};
    });
    const Matrix<float> X = forward_tree(answering, model, tree);
    score_targets(context.pool(), model, X, std::move(targets));
    done += tree.rows();
    begin = end;
  }
  return result;
}

}  // namespace watersic
