#include "checkpoint/checkpoint_writer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "io/temporary.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

TensorSpec spec_of(const ModelTensor& tensor, const std::string& dtype) {
  TensorSpec spec{.name = tensor.name, .dtype = dtype, .shape = {tensor.shape.cols}};
  if (!tensor.is_vector) spec.shape.insert(spec.shape.begin(), tensor.shape.rows);
  return spec;
}

int64_t bytes_of(const ModelTensor& tensor, const std::string& dtype) {
  return (dtype == "F32" ? 4 : 2) * tensor.shape.rows * tensor.shape.cols;
}

// The first tensor of each shard, and the number of tensors.
std::vector<size_t> shard_bounds(const CheckpointFolder& folder) {
  std::vector<size_t> bounds;
  int64_t room = 0;
  for (size_t k = 0; k < folder.tensors.size(); ++k) {
    const int64_t bytes = bytes_of(folder.tensors[k], folder.dtype);
    if (bounds.empty() || bytes > room) {
      bounds.push_back(k);
      room = folder.shard_bytes;
    }
    room -= bytes;
  }
  bounds.push_back(folder.tensors.size());
  return bounds;
}

void write_files(const fs::path& dir, const CheckpointFolder& folder,
                 const std::function<void(size_t, SafetensorsWriter&)>& fill,
                 const ProgressFn& progress, std::vector<Temporary>& written) {
  const std::vector<size_t> bounds = shard_bounds(folder);
  const size_t shards = bounds.size() - 1;
  Json weight_map = Json::object();
  int64_t total = 0;
  for (size_t s = 0; s < shards; ++s) {
    const std::string name = shards == 1
                                 ? "model.safetensors"
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards);
    std::vector<TensorSpec> specs;
    for (size_t k = bounds[s]; k < bounds[s + 1]; ++k)
      specs.push_back(spec_of(folder.tensors[k], folder.dtype));
    SafetensorsWriter writer(dir / name, specs, {{"format", "pt"}});
    for (size_t k = bounds[s]; k < bounds[s + 1]; ++k) {
      fill(k, writer);
      weight_map[folder.tensors[k].name] = name;
      total += bytes_of(folder.tensors[k], folder.dtype);
      if (progress) {
        progress({.stage = "writing",
                  .unit = "tensors",
                  .done = static_cast<int64_t>(k) + 1,
                  .total = static_cast<int64_t>(folder.tensors.size()),
                  .detail = ""});
      }
    }
    written.emplace_back(dir / name);  // before it is there: what fails may do so after that
    writer.commit();
  }
  std::map<std::string, std::string> texts = folder.texts;
  if (shards > 1) {
    const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
    texts["model.safetensors.index.json"] = index.dump(2) + "\n";
  }
  for (const auto& [name, text] : texts) {
    written.emplace_back(dir / name);
    write_file(dir / name, text);
  }
}

}  // namespace

void write_checkpoint(const fs::path& dir, const CheckpointFolder& folder,
                      const std::function<void(size_t k, SafetensorsWriter& writer)>& fill,
                      const ProgressFn& progress) {
  std::error_code failed;
  if (fs::exists(dir, failed) && !fs::is_empty(dir, failed))
    throw Error(fmt::format("{}: expected a new or an empty folder", dir.string()));
  const fs::path target = dir.has_filename() ? dir : dir.parent_path();  // "folder/"
  if (target.has_parent_path()) fs::create_directories(target.parent_path(), failed);
  if (failed) throw Error(fmt::format("{}: cannot be created: {}", dir.string(), failed.message()));
  Temporary temporary(target, Temporary::Kind::kFolder);
  std::vector<Temporary> written;
  write_files(temporary.path(), folder, fill, progress, written);
  fs::rename(temporary.path(), target, failed);
  if (failed)
    throw Error(
        fmt::format("{}: cannot be renamed into place: {}", dir.string(), failed.message()));
  temporary.keep();
  for (Temporary& file : written) file.keep();
  sync_folder(target.has_parent_path() ? target.parent_path() : ".");
}

}  // namespace watersic
