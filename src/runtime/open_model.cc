#include "runtime/open_model.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "container/read_container.h"
#include "io/json.h"
#include "io/mapped_file.h"
#include "model/checkpoint.h"
#include "runtime/container_source.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {
namespace {

class Checkpoint : public OpenModel {
 public:
  explicit Checkpoint(const std::filesystem::path& dir) : dir_(dir), source_(dir) {
    name_ = dir.string();
    config_ = load_config(dir);
    check_tensors(config_, source_);
  }
  const WeightSource& weights() const override { return source_; }
  std::optional<std::string> text(const std::string& file) const override {
    if (!std::filesystem::exists(dir_ / file)) return {};
    return read_text(dir_ / file);
  }
  std::string model_id() const override {
    // Names and contents of the configuration and of all weight files.
    std::string parts;
    std::map<std::string, std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
      const std::string file = entry.path().filename().string();
      if (file == "config.json" || entry.path().extension() == ".safetensors")
        files[file] = entry.path();
    }
    for (const auto& [file, path] : files)
      parts += file + " " + hex_hash(MappedFile(path).bytes()) + "\n";
    return hex_hash(parts);
  }

 private:
  std::filesystem::path dir_;
  CheckpointSource source_;
};

class Container : public OpenModel {
 public:
  Container(const std::filesystem::path& path, ThreadPool& pool)
      : reader_(path), source_(reader_, pool) {
    name_ = path.string();
    const std::string config_name = name_ + ": config.json";
    config_ = parse_config(parse_json(reader_.text("config.json"), config_name), config_name);
    if (const auto generation = text("generation_config.json")) {
      const std::string generation_name = name_ + ": generation_config.json";
      add_generation_config(config_, parse_json(*generation, generation_name), generation_name);
    }
    check_tensors(config_, source_);
  }
  const WeightSource& weights() const override { return source_; }
  std::optional<std::string> text(const std::string& file) const override {
    if (!reader_.has(file)) return {};
    return reader_.text(file);
  }
  std::string model_id() const override {
    const Json manifest = reader_.manifest();
    return JsonFields(manifest, name_ + ": manifest.json").text("model_id");
  }

 private:
  ContainerReader reader_;
  ContainerSource source_;
};

}  // namespace

Tokenizer OpenModel::tokenizer() const {
  const auto tokenizer = text("tokenizer.json");
  if (!tokenizer) throw Error(fmt::format("{}: expected a tokenizer.json, found none", name_));
  return Tokenizer::parse(*tokenizer, text("tokenizer_config.json").value_or(""),
                          name_ + ": tokenizer.json");
}

std::unique_ptr<OpenModel> open_model(const std::filesystem::path& path, ThreadPool& pool) {
  if (std::filesystem::is_directory(path)) return std::make_unique<Checkpoint>(path);
  return std::make_unique<Container>(path, pool);
}

}  // namespace watersic
