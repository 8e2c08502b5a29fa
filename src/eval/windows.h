// What of a text is scored: docs/conventions.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "watersic/evaluate.h"

namespace watersic {

// Windows of one length; in each, the logits at positions [first, length - 1) predict the token
// after.
struct ScoredWindows {
  std::vector<std::vector<int32_t>> ids;
  int64_t length = 0, first = 0;
  int64_t scored() const { return static_cast<int64_t>(ids.size()) * (length - 1 - first); }
};

// ids: of the whole text, BOS first where the tokenizer puts it. bos: replaces the first token of
// each window in the llama.cpp convention; none where the tokenizer adds no BOS. Throws Error,
// calling the text `name`, where there is not one window.
ScoredWindows scored_windows(std::span<const int32_t> ids, Convention convention, int64_t context,
                             std::optional<int32_t> bos, const std::string& name);

// What the papers score of WikiText-2, from wiki.test.raw: the rows as the datasets library gives
// them, joined by blank lines.
std::string wikitext_as_scored(const std::string& raw);

}  // namespace watersic
