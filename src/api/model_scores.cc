// What a model that is open makes of tokens that are given.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "api/model_impl.h"
#include "eval/score.h"
#include "eval/token_tree.h"
#include "eval/windows.h"
#include "watersic/error.h"
#include "watersic/session.h"

namespace watersic {
namespace {

void check_length(const Model::Impl& model, size_t tokens) {
  if (static_cast<int64_t>(tokens) > model.config().max_positions) {
    throw Error(fmt::format("{}: expected at most {} tokens, the model's context, found {}",
                            model.opened->name(), model.config().max_positions, tokens));
  }
}

// For a pass over so many tokens at once.
const Network& network_for(Model::Impl& model, size_t tokens, const ProgressFn& progress) {
  return model.load(static_cast<int64_t>(tokens), CacheType::kFloat32, progress);
}

}  // namespace

Matrix<float> Model::logits(std::span<const int32_t> ids, const ProgressFn& progress) const {
  check_length(*impl_, ids.size());
  check_ids(impl_->config(), ids);
  if (ids.empty()) return {0, impl_->config().vocabulary};
  const Network& network = network_for(*impl_, ids.size(), progress);
  const std::vector<std::vector<int32_t>> windows{{ids.begin(), ids.end()}};
  return network.logits(impl_->pool, forward_all({impl_->pool, progress}, network, windows));
}

std::vector<std::vector<ScoredToken>> Model::score(std::span<const ScoredSequence> sequences,
                                                   const ProgressFn& progress) const {
  size_t longest = 1;
  for (const ScoredSequence& sequence : sequences) {
    const size_t tokens = sequence.tokens.size();
    if (sequence.first < 1 || sequence.first >= tokens) {
      throw Error(fmt::format(
          "expected sequences of a token or more before those that are scored, and one that is, "
          "found {} tokens of which those from {} on are scored",
          tokens, sequence.first));
    }
    check_length(*impl_, tokens - 1);  // the last one is predicted, not read
    longest = std::max(longest, tokens);
  }
  if (sequences.empty()) return {};
  return score_sequences({impl_->pool, progress}, network_for(*impl_, longest, progress),
                         sequences);
}

double Model::perplexity(const std::string& text, int64_t context,
                         const ProgressFn& progress) const {
  const int64_t most = impl_->config().max_positions;
  if (context > most)
    throw Error(fmt::format("context: expected at most {}, the model's, found {}", most, context));
  const std::vector<int32_t> ids = impl_->tokenizer().encode(text);
  if (ids.size() < 2)
    throw Error(fmt::format("text: expected at least two tokens, found {}", ids.size()));
  const int64_t length = context > 0 ? context : std::min<int64_t>(2048, most);
  const ScoredWindows windows =
      scored_windows(ids, Convention::kHuggingFace,
                     std::min(length, static_cast<int64_t>(ids.size())), {}, "text");
  const ScoredModel scored{&network_for(*impl_, windows.ids[0].size(), progress)};
  double nll = 0;
  for (const TokenScore& score : score_windows({impl_->pool, progress}, windows, scored, nullptr))
    nll += score.nll;
  return std::exp(nll / static_cast<double>(windows.scored()));
}

}  // namespace watersic
