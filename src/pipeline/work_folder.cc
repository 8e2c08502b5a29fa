#include "pipeline/work_folder.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "io/atomic_file.h"
#include "io/mapped_file.h"
#include "io/safetensors.h"
#include "pipeline/identity.h"
#include "pipeline/report.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {
namespace {

constexpr const char* kIdentity = "run.json";
constexpr const char* kWindows = "windows.json";
constexpr const char* kSensitivities = "sensitivities.json";
constexpr const char* kMatrix = "matrix-";
constexpr const char* kBasis = "basis.json";  // last: what the other two are known by
constexpr const char* kRotation = "basis.safetensors";
constexpr const char* kAxes = "basis.tensor";

void write_blob(const std::filesystem::path& file, std::span<const std::byte> bytes) {
  AtomicFile out(file);
  out.write(bytes);
  out.commit();
}

void check_hash(const MappedFile& file, const std::string& expected) {
  const std::string found = hex_hash(file.bytes());
  if (found != expected)
    throw Error(fmt::format("{}: is damaged: expected the hash {}, found {}", file.path().string(),
                            expected, found));
}

std::vector<std::byte> read_blob(const std::filesystem::path& file, const std::string& expected) {
  const MappedFile mapped(file);
  check_hash(mapped, expected);
  return {mapped.bytes().begin(), mapped.bytes().end()};
}

std::optional<FinishedStage> read_stage(const std::filesystem::path& file,
                                        const std::filesystem::path& folder) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  const Json json = read_json(file);
  const JsonFields fields(json, file.string());
  FinishedStage out;
  for (const Json& entry : fields.array("layers")) {
    out.layers.push_back(layer_from_json(entry, file.string() + ": layers"));
    out.tensors.emplace_back();
    if (out.layers.back().kept) continue;
    out.tensors.back() = read_blob(folder / (out.layers.back().name + ".tensor"),
                                   JsonFields(entry, file.string() + ": layers").text("hash"));
  }
  for (const Json& entry : fields.array("outliers")) {
    const JsonFields outlier(entry, file.string() + ": outliers");
    out.outliers.push_back({.block = outlier.integer("block"),
                            .row = outlier.integer("row"),
                            .ratio = outlier.number("ratio")});
  }
  return out;
}

void write_stage(const std::filesystem::path& file, const std::filesystem::path& folder,
                 const FinishedStage& finished) {
  Json json = {{"layers", Json::array()}, {"outliers", Json::array()}};
  for (size_t i = 0; i < finished.layers.size(); ++i) {
    const LayerReport& layer = finished.layers[i];
    Json entry = layer_json(layer);
    if (!layer.kept) {
      write_blob(folder / (layer.name + ".tensor"), finished.tensors[i]);
      entry["hash"] = hex_hash(finished.tensors[i]);
    }
    json["layers"].push_back(entry);
  }
  for (const OutlierReport& o : finished.outliers)
    json["outliers"].push_back({{"block", o.block}, {"row", o.row}, {"ratio", o.ratio}});
  write_file(file, json.dump(1) + "\n");
}

}  // namespace

WorkFolder::WorkFolder(const std::filesystem::path& output, const Json& identity, bool resume)
    : path_(output.string() + ".work") {
  const std::filesystem::path file = path_ / kIdentity;
  if (std::filesystem::exists(file)) {
    if (!resume) {
      throw Error(fmt::format("{}: holds an unfinished run; resume it, or remove the folder",
                              path_.string()));
    }
    if (const auto found = first_difference(read_json(file), identity))
      throw Error(fmt::format("{}: resume: {}", path_.string(), *found));
    return;
  }
  if (resume)
    throw Error(fmt::format("{}: resume: expected an unfinished run, found none", path_.string()));
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error) throw Error(fmt::format("{}: cannot be created: {}", path_.string(), error.message()));
  write_file(file, identity.dump(2) + "\n");
}

std::optional<std::vector<std::vector<int32_t>>> WorkFolder::windows() const {
  const std::filesystem::path file = path_ / kWindows;
  if (!std::filesystem::exists(file)) return std::nullopt;
  const Json json = read_json(file, size_t{4} << 30);
  try {
    return json.get<std::vector<std::vector<int32_t>>>();
  } catch (const Json::exception&) {
    throw Error(fmt::format("{}: expected arrays of token ids", file.string()));
  }
}

void WorkFolder::save_windows(const std::vector<std::vector<int32_t>>& windows) const {
  write_file(path_ / kWindows, Json(windows).dump() + "\n");
}

std::optional<SavedBasis> WorkFolder::basis() const {
  const std::filesystem::path file = path_ / kBasis, matrices = path_ / kRotation;
  if (!std::filesystem::exists(file)) return std::nullopt;
  const Json json = read_json(file);
  const JsonFields fields(json, file.string());
  check_hash(MappedFile(matrices), fields.text("rotation"));
  SavedBasis out;
  if (fields.has("axes")) out.axes = read_blob(path_ / kAxes, fields.text("axes"));
  const SafetensorsFile tensors(matrices);
  for (const auto& entry : tensors.entries()) {
    if (entry.name == "stream") {
      out.rotation.stream = tensors.read(entry);
    } else {  // "BLOCK.HEAD", in order
      if (entry.name.ends_with(".0")) out.rotation.heads.emplace_back();
      out.rotation.heads.back().push_back(tensors.read(entry));
    }
  }
  return out;
}

void WorkFolder::save_basis(const SavedBasis& basis) const {
  std::vector<TensorSpec> specs;
  std::vector<const Matrix<float>*> matrices;
  const auto add = [&](const std::string& name, const Matrix<float>& Q) {
    specs.push_back({.name = name, .dtype = "F32", .shape = {Q.rows(), Q.cols()}});
    matrices.push_back(&Q);
  };
  const Rotation& rotation = basis.rotation;
  if (!rotation.stream.empty()) add("stream", rotation.stream);
  for (size_t block = 0; block < rotation.heads.size(); ++block)
    for (size_t head = 0; head < rotation.heads[block].size(); ++head)
      add(fmt::format("{}.{}", block, head), rotation.heads[block][head]);
  SafetensorsWriter writer(path_ / kRotation, specs);
  for (const Matrix<float>* Q : matrices) writer.write(Q->values());
  writer.commit();
  Json json = {{"rotation", hex_hash(MappedFile(path_ / kRotation).bytes())}};
  if (!basis.axes.empty()) {
    write_blob(path_ / kAxes, basis.axes);
    json["axes"] = hex_hash(basis.axes);
  }
  write_file(path_ / kBasis, json.dump(1) + "\n");
}

std::optional<std::vector<LayerSensitivity>> WorkFolder::sensitivities() const {
  const std::filesystem::path file = path_ / kSensitivities;
  if (!std::filesystem::exists(file)) return std::nullopt;
  return sensitivities_from_json(read_json(file), file.string());
}

void WorkFolder::save_sensitivities(const std::vector<LayerSensitivity>& layers) const {
  write_file(path_ / kSensitivities, sensitivities_json(layers).dump(1) + "\n");
}

std::filesystem::path WorkFolder::stage_file(int64_t block, Capture stage) const {
  return path_ / fmt::format("block-{}-{}.json", block, to_string(stage));
}

std::filesystem::path WorkFolder::matrix_file(const std::string& name) const {
  return path_ / (kMatrix + name + ".json");
}

std::optional<FinishedStage> WorkFolder::stage(int64_t block, Capture stage) const {
  return read_stage(stage_file(block, stage), path_);
}

std::optional<FinishedStage> WorkFolder::matrix(const std::string& name) const {
  return read_stage(matrix_file(name), path_);
}

void WorkFolder::save_stage(int64_t block, Capture stage, const FinishedStage& finished) const {
  write_stage(stage_file(block, stage), path_, finished);
}

void WorkFolder::save_matrix(const std::string& name, const FinishedStage& finished) const {
  write_stage(matrix_file(name), path_, finished);
}

void WorkFolder::remove() const { std::filesystem::remove_all(path_); }

void WorkFolder::remove_if_unused() const {
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("block-") || name.starts_with(kMatrix)) return;
  }
  remove();
}

}  // namespace watersic
