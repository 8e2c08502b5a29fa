// OUT.wsic.work: what a run has finished, so that one that was stopped or killed can go on. Holds
// the calibration windows, the basis and, for each finished stage, the coded tensors and the
// decisions. Everything is written under a temporary name and renamed; a stage counts once its JSON
// file is there, which comes last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "model/config.h"
#include "pipeline/model_basis.h"
#include "watersic/quantize.h"

namespace watersic {

// What a stage leaves: a report for each of its layers, and the bytes of those that are not kept.
struct FinishedStage {
  std::vector<LayerReport> layers;
  std::vector<std::vector<std::byte>> tensors;  // empty for a layer that is kept
  std::vector<OutlierReport> outliers;
};

class WorkFolder {
 public:
  // `identity`: a JSON object of objects that must be the same for a run to be continued: version,
  // input, options. Without `resume` the folder must not be there; with it, what it holds must have
  // been made by the same. Throws Error, naming what differs.
  WorkFolder(const std::filesystem::path& output, const Json& identity, bool resume);

  const std::filesystem::path& path() const { return path_; }

  std::optional<std::vector<std::vector<int32_t>>> windows() const;
  void save_windows(const std::vector<std::vector<int32_t>>& windows) const;

  // Throws Error where what was saved is damaged.
  std::optional<SavedBasis> basis() const;
  void save_basis(const SavedBasis& basis) const;

  std::optional<std::vector<LayerSensitivity>> sensitivities() const;
  void save_sensitivities(const std::vector<LayerSensitivity>& layers) const;

  // Nothing for a stage that is not finished. Throws Error where what was saved is damaged.
  std::optional<FinishedStage> stage(int64_t block, Capture stage) const;
  void save_stage(int64_t block, Capture stage, const FinishedStage& finished) const;
  // Likewise of an embedding or an output head, a stage of one layer.
  std::optional<FinishedStage> matrix(const std::string& name) const;
  void save_matrix(const std::string& name, const FinishedStage& finished) const;

  void remove() const;
  // Removes the folder where no stage is finished: there is nothing to continue.
  void remove_if_unused() const;

 private:
  std::filesystem::path stage_file(int64_t block, Capture stage) const;
  std::filesystem::path matrix_file(const std::string& name) const;
  std::filesystem::path path_;
};

}  // namespace watersic
