#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <vector>

#include "model/attention.h"
#include "watersic/error.h"

namespace watersic {

// Tokens [begin, begin + count) of a step.
struct Engine::Part {
  const Step* step = nullptr;
  int64_t begin = 0, count = 0;

  std::span<const int32_t> ids() const {
    return step->ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
  }
  // Of how many of the tokens, the last ones, logits are wanted.
  int64_t wanted() const {
    if (step->logits == Step::Logits::kAll) return count;
    const bool last = count > 0 && begin + count == static_cast<int64_t>(step->ids.size());
    return step->logits == Step::Logits::kLast && last ? 1 : 0;
  }
};

namespace {

// Rows of a batch: some tokens of a sequence.
struct Rows {
  Cache* cache = nullptr;
  int64_t position = 0, first = 0, count = 0;
};

// Each row sees its own sequence, through its cache.
class CachedAttention final : public Attention {
 public:
  CachedAttention(const ModelConfig& config, std::vector<Rows> rows)
      : config_(config), rows_(std::move(rows)) {
    for (const Rows& r : rows_) {
      for (int64_t i = 0; i < r.count; ++i) positions_.push_back(r.position + i);
      ends_.push_back((ends_.empty() ? 0 : ends_.back()) + r.cache->tiles(r.count));
    }
  }

  std::span<const int64_t> positions() const override { return positions_; }

  Matrix<float> mix(ThreadPool& pool, int64_t block, const Heads& heads) override {
    const int64_t d = config_.head_dim;
    pool.parallel_for(static_cast<int64_t>(rows_.size()) * config_.kv_heads, [&](int64_t tile) {
      const Rows& r = rows_[static_cast<size_t>(tile / config_.kv_heads)];
      const int64_t head = tile % config_.kv_heads;
      r.cache->store(block, head, r.position, heads.K.view().block(r.first, head * d, r.count, d),
                     heads.V.view().block(r.first, head * d, r.count, d));
    });
    Matrix<float> H(heads.Q.rows(), config_.query_size());
    pool.parallel_for(ends_.back(), [&](int64_t tile) {
      const auto i = static_cast<size_t>(std::ranges::upper_bound(ends_, tile) - ends_.begin());
      const Rows& r = rows_[i];
      r.cache->attend(pool, i == 0 ? tile : tile - ends_[i - 1], block, r.position,
                      heads.Q.view().block(r.first, 0, r.count, H.cols()),
                      H.view().block(r.first, 0, r.count, H.cols()));
    });
    return H;
  }

 private:
  const ModelConfig& config_;
  std::vector<Rows> rows_;
  std::vector<int64_t> positions_;
  std::vector<int64_t> ends_;  // of each sequence's tiles
};

}  // namespace

void Sequence::rewind(int64_t tokens) {
  assert(tokens >= 0 && tokens <= position_);
  position_ = tokens;
}

Engine::Engine(ThreadPool& pool, const ForwardModel& model)
    : pool_(pool), model_(model), rope_(model.config(), 0) {}

void Engine::check(std::span<const Step> steps) const {
  for (const Step& step : steps) {
    const auto tokens = static_cast<int64_t>(step.ids.size());
    if (step.sequence->position() + tokens > step.sequence->capacity()) {
      throw Error(fmt::format("expected at most {} tokens in a sequence, found {}",
                              step.sequence->capacity(), step.sequence->position() + tokens));
    }
    check_ids(model_.config(), step.ids);
  }
}

void Engine::reach(int64_t position) {
  if (position <= rope_.length()) return;
  int64_t length = std::max<int64_t>(256, rope_.length());
  while (length < position) length *= 2;
  rope_ = RopeTable(model_.config(), length);
}

// The last block's output for all rows of the parts.
Matrix<float> Engine::pass(std::span<const Part> parts) {
  std::vector<int32_t> ids;
  std::vector<Rows> rows;
  for (const Part& part : parts) {
    Sequence& sequence = *part.step->sequence;
    const int64_t end = sequence.position() + part.count;
    reach(end);
    sequence.cache_->reserve(end);
    rows.push_back({.cache = sequence.cache_.get(),
                    .position = sequence.position(),
                    .first = static_cast<int64_t>(ids.size()),
                    .count = part.count});
    ids.insert(ids.end(), part.ids().begin(), part.ids().end());
  }
  Matrix<float> X = model_.embed(pool_, ids);
  CachedAttention attention(model_.config(), std::move(rows));
  // All rows are one window to the linear layers, so that they share their tiles.
  for (int64_t block = 0; block < model_.config().blocks; ++block)
    forward_block(pool_, model_.config(), rope_, *model_.block(pool_, block), X.rows(), attention,
                  X);
  for (const Part& part : parts) part.step->sequence->position_ += part.count;
  return X;
}

Matrix<float> Engine::run(std::span<const Step> steps) {
  int64_t wanted = 0;
  for (const Step& step : steps) {
    const auto tokens = static_cast<int64_t>(step.ids.size());
    wanted += Part{.step = &step, .begin = 0, .count = tokens}.wanted();
  }
  Matrix<float> last(wanted, model_.config().hidden);
  int64_t filled = 0;
  auto next = steps.begin();
  int64_t begin = 0;  // of what is left of that step
  while (next != steps.end()) {
    std::vector<Part> parts;
    for (int64_t room = kPassTokens; room > 0 && next != steps.end();) {
      const int64_t left = static_cast<int64_t>(next->ids.size()) - begin;
      const int64_t count = std::min(left, room);
      if (count > 0) parts.push_back({.step = &*next, .begin = begin, .count = count});
      room -= count;
      begin += count;
      if (count < left) break;
      ++next;
      begin = 0;
    }
    if (parts.empty()) break;
    const Matrix<float> X = pass(parts);
    int64_t end = 0;
    for (const Part& part : parts) {
      end += part.count;
      for (int64_t row = end - part.wanted(); row < end; ++row)
        std::ranges::copy(X.row(row), last.row(filled++).begin());
    }
  }
  if (wanted == 0) return {};
  return model_.logits(pool_, last);
}

Matrix<float> Engine::advance(std::span<const Step> steps) {
  check(steps);
  std::vector<int64_t> before;
  for (const Step& step : steps) before.push_back(step.sequence->position());
  try {
    return run(steps);
  } catch (...) {
    for (size_t i = 0; i < steps.size(); ++i) steps[i].sequence->rewind(before[i]);
    throw;
  }
}

// The stream, its normalized copy, heads and their mixture, the two halves of the MLP; attention's
// probabilities on each thread; the rotary table; logits of one token.
int64_t Engine::scratch_bytes(const ModelConfig& config, int threads, int64_t tokens,
                              int64_t position) {
  const int64_t rows = std::min(tokens, kPassTokens);
  const int64_t streams =
      rows * (2 * config.hidden +
              std::max(2 * config.query_size() + 2 * config.kv_size(), 2 * config.intermediate));
  const int64_t tile = std::min<int64_t>(rows * config.heads / config.kv_heads, kQueryTile);
  const int64_t probabilities = threads * tile * position;
  return static_cast<int64_t>(sizeof(float)) *
         (streams + probabilities + position * config.head_dim + config.vocabulary);
}

}  // namespace watersic
