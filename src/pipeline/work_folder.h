// OUT.wsic.work: what a run has finished, so that one that was stopped or killed can go on. Holds
// the calibration windows, the basis and, for each finished stage, the coded tensors and the
// decisions. Everything is written under a temporary name and renamed; a stage counts once its JSON
// file is there, which comes last. Each JSON file says which run it is of, and has a checksum. One
// process at a time holds the folder: of several ranks the first, which tells the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "io/file_lock.h"
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
  // been made by the same. Throws Error, naming what differs, or the process that holds the folder.
  WorkFolder(const std::filesystem::path& output, const Json& identity, bool resume,
             const Communicator& ranks = one_rank());

  const std::filesystem::path& path() const { return path_; }

  // Nothing for what is not finished. Throws Error where it is damaged, or another run's.
  std::optional<std::vector<std::vector<int32_t>>> windows() const;
  void save_windows(const std::vector<std::vector<int32_t>>& windows) const;

  std::optional<SavedBasis> basis() const;
  void save_basis(const SavedBasis& basis) const;

  std::optional<std::vector<LayerSensitivity>> sensitivities() const;
  void save_sensitivities(const std::vector<LayerSensitivity>& layers) const;

  std::optional<FinishedStage> stage(int64_t block, Capture stage) const;
  void save_stage(int64_t block, Capture stage, const FinishedStage& finished) const;
  // Likewise of an embedding or an output head, a stage of one layer.
  std::optional<FinishedStage> matrix(const std::string& name) const;
  void save_matrix(const std::string& name, const FinishedStage& finished) const;

  // Of what is finished, for rank 0 alone.
  FinishedStage own_stage(int64_t block, Capture stage) const;
  FinishedStage own_matrix(const std::string& name) const;

  // The folder is renamed first, so that what is left of it, should the process be killed, is not
  // taken for a run.
  void remove() const;
  // Removes the folder where no stage is finished: there is nothing to continue.
  void remove_if_unused() const;

 private:
  void open(const Json& identity, bool resume);
  // By rank 0, for all.
  template <class T>
  std::optional<T> told(const std::function<std::optional<T>()>& read) const;
  std::optional<std::vector<std::vector<int32_t>>> read_windows() const;
  std::optional<SavedBasis> read_basis() const;
  void write_basis(const SavedBasis& basis) const;
  std::filesystem::path stage_file(int64_t block, Capture stage) const;
  std::filesystem::path matrix_file(const std::string& name) const;
  // A file's data, in an envelope with the run and a checksum.
  std::optional<Json> read(const std::filesystem::path& file) const;
  void write(const std::filesystem::path& file, const Json& data) const;
  std::optional<FinishedStage> read_stage(const std::filesystem::path& file) const;
  FinishedStage finished(const std::filesystem::path& file) const;
  void write_stage(const std::filesystem::path& file, const FinishedStage& finished) const;

  const Communicator& ranks_;
  std::filesystem::path path_, removed_;
  std::string run_;  // the identity's hash
  std::optional<FileLock> lock_;
};

}  // namespace watersic
