#include "pipeline/work_folder.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "io/atomic_file.h"
#include "io/mapped_file.h"
#include "io/safetensors.h"
#include "pipeline/identity.h"
#include "pipeline/report.h"
#include "pipeline/sharing.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {
namespace {

constexpr const char* kLock = "lock";
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

Error damaged(const std::filesystem::path& file, const std::string& expected,
              const std::string& found) {
  return Error(fmt::format("{}: is damaged: expected the hash {}, found {}", file.string(),
                           expected, found));
}

void check_hash(const MappedFile& file, const std::string& expected) {
  const std::string found = hex_hash(file.bytes());
  if (found != expected) throw damaged(file.path(), expected, found);
}

std::vector<std::byte> read_blob(const std::filesystem::path& file, const std::string& expected) {
  const MappedFile mapped(file);
  check_hash(mapped, expected);
  return {mapped.bytes().begin(), mapped.bytes().end()};
}

}  // namespace

WorkFolder::WorkFolder(const std::filesystem::path& output, const Json& identity, bool resume,
                       const Communicator& ranks)
    : ranks_(ranks),
      path_(output.string() + ".work"),
      removed_(output.string() + ".work.removed"),
      run_(hex_hash(identity.dump())) {
  at_root(ranks_, [&] { open(identity, resume); });
}

void WorkFolder::open(const Json& identity, bool resume) {
  std::error_code error;
  if (resume && !std::filesystem::exists(path_ / kIdentity, error))
    throw Error(fmt::format("{}: resume: expected an unfinished run, found none", path_.string()));
  std::filesystem::create_directories(path_, error);
  if (error) throw Error(fmt::format("{}: cannot be created: {}", path_.string(), error.message()));
  lock_.emplace(path_ / kLock);
  std::filesystem::remove_all(removed_, error);  // of a run that was killed as it ended
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
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    const std::string name = entry.path().filename().string();
    if (name == kLock || name.starts_with(std::string(kIdentity) + ".tmp-")) continue;
    throw Error(
        fmt::format("{}: expected a new folder or one with a {}, found {}; remove the folder",
                    path_.string(), kIdentity, name));
  }
  write_file(file, identity.dump(2) + "\n");
}

template <class T>
std::optional<T> WorkFolder::told(const std::function<std::optional<T>()>& read) const {
  std::optional<T> out;
  at_root(ranks_, [&] { out = read(); });
  if (!any(ranks_, out.has_value())) return std::nullopt;
  if (!out) out.emplace();
  share(ranks_, 0, *out);
  return out;
}

std::optional<Json> WorkFolder::read(const std::filesystem::path& file) const {
  if (!std::filesystem::exists(file)) return std::nullopt;
  Json json = read_json(file, size_t{4} << 30);
  const JsonFields fields(json, file.string());
  if (const std::string run = fields.text("run"); run != run_)
    throw Error(
        fmt::format("{}: belongs to another run: expected {}, found {}", file.string(), run_, run));
  const std::string expected = fields.text("hash");
  if (!json.contains("data")) fields.fail("data", "what was finished");
  const std::string found = hex_hash(json["data"].dump());
  if (found != expected) throw damaged(file, expected, found);
  return std::move(json["data"]);
}

void WorkFolder::write(const std::filesystem::path& file, const Json& data) const {
  // The data whole, not copied: windows may be large.
  write_file(file, fmt::format("{{\"run\": \"{}\", \"hash\": \"{}\", \"data\":\n{}}}\n", run_,
                               hex_hash(data.dump()), data.dump(1)));
}

std::optional<FinishedStage> WorkFolder::read_stage(const std::filesystem::path& file) const {
  const auto data = read(file);
  if (!data) return std::nullopt;
  const JsonFields fields(*data, file.string());
  FinishedStage out;
  for (const Json& entry : fields.array("layers")) {
    out.layers.push_back(layer_from_json(entry, file.string() + ": layers"));
    out.tensors.emplace_back();
    if (out.layers.back().kept) continue;
    out.tensors.back() = read_blob(path_ / (out.layers.back().name + ".tensor"),
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

void WorkFolder::write_stage(const std::filesystem::path& file,
                             const FinishedStage& finished) const {
  Json json = {{"layers", Json::array()}, {"outliers", Json::array()}};
  for (size_t i = 0; i < finished.layers.size(); ++i) {
    const LayerReport& layer = finished.layers[i];
    Json entry = layer_json(layer);
    if (!layer.kept) {
      write_blob(path_ / (layer.name + ".tensor"), finished.tensors[i]);
      entry["hash"] = hex_hash(finished.tensors[i]);
    }
    json["layers"].push_back(entry);
  }
  for (const OutlierReport& o : finished.outliers)
    json["outliers"].push_back({{"block", o.block}, {"row", o.row}, {"ratio", o.ratio}});
  write(file, json);
}

std::optional<std::vector<std::vector<int32_t>>> WorkFolder::windows() const {
  return told<std::vector<std::vector<int32_t>>>([this] { return read_windows(); });
}

std::optional<std::vector<std::vector<int32_t>>> WorkFolder::read_windows() const {
  const std::filesystem::path file = path_ / kWindows;
  const auto data = read(file);
  if (!data) return std::nullopt;
  try {
    return data->get<std::vector<std::vector<int32_t>>>();
  } catch (const Json::exception&) {
    throw Error(fmt::format("{}: expected arrays of token ids", file.string()));
  }
}

void WorkFolder::save_windows(const std::vector<std::vector<int32_t>>& windows) const {
  at_root(ranks_, [&] { write(path_ / kWindows, windows); });
}

std::optional<SavedBasis> WorkFolder::basis() const {
  return told<SavedBasis>([this] { return read_basis(); });
}

void WorkFolder::save_basis(const SavedBasis& basis) const {
  at_root(ranks_, [&] { write_basis(basis); });
}

std::optional<SavedBasis> WorkFolder::read_basis() const {
  const std::filesystem::path file = path_ / kBasis, matrices = path_ / kRotation;
  const auto data = read(file);
  if (!data) return std::nullopt;
  const JsonFields fields(*data, file.string());
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

void WorkFolder::write_basis(const SavedBasis& basis) const {
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
  write(path_ / kBasis, json);
}

std::optional<std::vector<LayerSensitivity>> WorkFolder::sensitivities() const {
  return told<std::vector<LayerSensitivity>>(
      [this]() -> std::optional<std::vector<LayerSensitivity>> {
        const std::filesystem::path file = path_ / kSensitivities;
        const auto data = read(file);
        if (!data) return std::nullopt;
        return sensitivities_from_json(*data, file.string());
      });
}

void WorkFolder::save_sensitivities(const std::vector<LayerSensitivity>& layers) const {
  at_root(ranks_, [&] { write(path_ / kSensitivities, sensitivities_json(layers)); });
}

std::filesystem::path WorkFolder::stage_file(int64_t block, Capture stage) const {
  return path_ / fmt::format("block-{}-{}.json", block, to_string(stage));
}

std::filesystem::path WorkFolder::matrix_file(const std::string& name) const {
  return path_ / (kMatrix + name + ".json");
}

std::optional<FinishedStage> WorkFolder::stage(int64_t block, Capture stage) const {
  return told<FinishedStage>([&] { return read_stage(stage_file(block, stage)); });
}

std::optional<FinishedStage> WorkFolder::matrix(const std::string& name) const {
  return told<FinishedStage>([&] { return read_stage(matrix_file(name)); });
}

FinishedStage WorkFolder::own_stage(int64_t block, Capture stage) const {
  return finished(stage_file(block, stage));
}

FinishedStage WorkFolder::own_matrix(const std::string& name) const {
  return finished(matrix_file(name));
}

FinishedStage WorkFolder::finished(const std::filesystem::path& file) const {
  auto stage = read_stage(file);
  if (!stage) throw Error(fmt::format("{}: is gone", file.string()));
  return std::move(*stage);
}

void WorkFolder::save_stage(int64_t block, Capture stage, const FinishedStage& finished) const {
  at_root(ranks_, [&] { write_stage(stage_file(block, stage), finished); });
}

void WorkFolder::save_matrix(const std::string& name, const FinishedStage& finished) const {
  at_root(ranks_, [&] { write_stage(matrix_file(name), finished); });
}

void WorkFolder::remove() const {
  if (!ranks_.is_root()) return;
  std::error_code error;
  std::filesystem::remove_all(removed_, error);
  std::filesystem::rename(path_, removed_, error);
  if (!error) std::filesystem::remove_all(removed_, error);
  // What stays is of no harm: the run is done, and the next one takes it away.
}

void WorkFolder::remove_if_unused() const {
  if (!ranks_.is_root()) return;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("block-") || name.starts_with(kMatrix)) return;
  }
  remove();
}

}  // namespace watersic
