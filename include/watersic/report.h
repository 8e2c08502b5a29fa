// One page that shows what quantizing came to: sizes, quality, and where the bits went.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace watersic {

struct Report {
  std::string html;  // one file that needs no other, and no network
  size_t runs = 0, evaluations = 0;
  // Files that did not fit together, a sentence each: a run without an evaluation, an evaluation of
  // another model, what was given twice. The page shows them too.
  std::vector<std::string> notes;
};

// `files`: what `to_json` gave for runs (QuantizeReport) and evaluations (EvaluateResult), in any
// order; they are joined by their model_id. Throws Error, naming file and field, where one is
// neither.
Report make_report(const std::vector<std::filesystem::path>& files);

}  // namespace watersic
