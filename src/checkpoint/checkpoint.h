// A Hugging Face checkpoint folder as a source of weights: model.safetensors, or shards named by
// model.safetensors.index.json. The files stay mapped; nothing is read before it is asked for.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/weights.h"

namespace watersic {

class CheckpointSource : public WeightSource {
 public:
  // Throws Error where a file is missing or malformed, a tensor of the index is absent from its
  // shard, or a tensor is in two shards.
  explicit CheckpointSource(const std::filesystem::path& dir);

  std::vector<std::string> names() const override;
  bool has(const std::string& name) const override { return tensors_.contains(name); }
  Shape shape(const std::string& name) const override;
  Matrix<float> matrix(const std::string& name) const override;
  Matrix<float> rows(const std::string& name, const std::vector<int32_t>& rows) const override;
  std::optional<Halves> halves(const std::string& name) const override;
  // Those that the weights are read from; there may be others in the folder.
  std::vector<std::filesystem::path> files() const;
  // As in the file: "BF16".
  const std::string& dtype(const std::string& name) const { return find(name).entry->dtype; }

 private:
  struct Location {
    const SafetensorsFile* file = nullptr;
    const SafetensorsFile::Entry* entry = nullptr;
  };
  void add_file(const std::filesystem::path& path);
  const Location& find(const std::string& name) const;

  std::filesystem::path dir_;
  std::map<std::string, SafetensorsFile> files_;  // by file name; a map, as Locations point into it
  std::map<std::string, Location> tensors_;
};

}  // namespace watersic
