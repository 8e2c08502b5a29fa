#include "checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "watersic/error.h"

namespace watersic {

CheckpointSource::CheckpointSource(const std::filesystem::path& dir) : dir_(dir) {
  const auto whole = dir / "model.safetensors";
  const auto index_path = dir / "model.safetensors.index.json";
  if (std::filesystem::exists(whole)) {  // as transformers: it goes before an index
    add_file(whole);
    return;
  }
  if (!std::filesystem::exists(index_path)) {
    throw Error(
        fmt::format("{}: expected model.safetensors or model.safetensors.index.json, found neither",
                    dir.string()));
  }
  const Json index = read_json(index_path);
  const JsonFields map = JsonFields(index, index_path.string()).object("weight_map");
  for (const auto& [tensor, value] : map.json().items()) {
    const std::string shard = map.text(tensor);
    if (shard.empty() || shard.find('/') != std::string::npos)
      map.fail(tensor, "the name of a file in the same folder");
    if (!files_.contains(shard)) {
      if (!std::filesystem::exists(dir / shard))
        throw Error(fmt::format("{}: found no such file, which {} names for tensor '{}'",
                                (dir / shard).string(), index_path.filename().string(), tensor));
      add_file(dir / shard);
    }
    if (files_.at(shard).find(tensor) == nullptr) {
      throw Error(fmt::format("{}: expected tensor '{}', as {} says, found no such tensor",
                              (dir / shard).string(), tensor, index_path.filename().string()));
    }
  }
}

void CheckpointSource::add_file(const std::filesystem::path& path) {
  const SafetensorsFile& file = files_.emplace(path.filename().string(), path).first->second;
  for (const SafetensorsFile::Entry& entry : file.entries()) {
    const auto [found, is_new] =
        tensors_.emplace(entry.name, Location{.file = &file, .entry = &entry});
    if (!is_new) {
      throw Error(fmt::format("{}: tensor '{}': is also in {}", path.string(), entry.name,
                              found->second.file->path().filename().string()));
    }
  }
}

std::vector<std::filesystem::path> CheckpointSource::files() const {
  std::vector<std::filesystem::path> paths;
  for (const auto& [name, file] : files_) paths.push_back(file.path());
  return paths;
}

const CheckpointSource::Location& CheckpointSource::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw Error(fmt::format("{}: tensor '{}': found no such tensor", dir_.string(), name));
  return found->second;
}

std::vector<std::string> CheckpointSource::names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, location] : tensors_) names.push_back(name);
  return names;
}

WeightSource::Shape CheckpointSource::shape(const std::string& name) const {
  const Location& at = find(name);
  const auto [rows, cols] = at.file->matrix_shape(*at.entry);
  return {.rows = rows, .cols = cols};
}

Matrix<float> CheckpointSource::matrix(const std::string& name) const {
  const Location& at = find(name);
  return at.file->read(*at.entry);
}

std::optional<WeightSource::Halves> CheckpointSource::halves(const std::string& name) const {
  const Location& at = find(name);
  const std::string& type = at.entry->dtype;
  const auto bytes = at.file->bytes(*at.entry);
  // A header of an odd length leaves odd addresses.
  if ((type != "BF16" && type != "F16") || reinterpret_cast<uintptr_t>(bytes.data()) % 2 != 0)
    return {};
  return Halves{.values = {reinterpret_cast<const uint16_t*>(bytes.data()), bytes.size() / 2},
                .bf16 = type == "BF16"};
}

Matrix<float> CheckpointSource::rows(const std::string& name,
                                     const std::vector<int32_t>& rows) const {
  const Location& at = find(name);
  return at.file->read_rows(*at.entry, rows);
}

}  // namespace watersic
