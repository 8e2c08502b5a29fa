#include "checkpoint/open_checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf_layout.h"
#include "checkpoint/gguf_source.h"
#include "io/gguf.h"
#include "io/json.h"
#include "tokenizer/gguf_vocabulary.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

class Folder : public Checkpoint {
 public:
  explicit Folder(const fs::path& dir) : dir_(dir) {
    name_ = dir.string();
    config_ = load_config(dir);  // first: a folder without it is no model at all
    source_ = std::make_unique<CheckpointSource>(dir);
    check_tensors(config_, *source_);
  }
  const WeightSource& weights() const override { return *source_; }
  std::string dtype(const std::string& tensor) const override { return source_->dtype(tensor); }
  std::optional<std::string> text(const std::string& file) const override {
    if (!fs::exists(dir_ / file)) return {};
    return read_text(dir_ / file);
  }
  std::vector<fs::path> files() const override {
    std::vector<fs::path> paths = source_->files();
    paths.push_back(dir_ / "config.json");
    return paths;
  }

 private:
  fs::path dir_;
  std::unique_ptr<CheckpointSource> source_;
};

std::string note_of(const GgufFile& file) {
  std::set<std::string> types;
  for (const GgufFile::Tensor& tensor : file.tensors())
    if (is_quantized(tensor.type)) types.insert(to_string(tensor.type));
  if (types.empty()) return {};
  return fmt::format(
      "note: {} holds weights that were quantized before ({}): they are taken as the original, "
      "what "
      "they lost is counted nowhere",
      file.path().string(), fmt::join(types, ", "));
}

class Gguf : public Checkpoint {
 public:
  explicit Gguf(const fs::path& path) : file_(path) {
    name_ = path.string();
    const Json json = config_from_gguf(file_);
    config_ = parse_config(json, name_ + ": config.json");
    source_ = std::make_unique<GgufSource>(file_, config_);
    check_tensors(config_, *source_);
    config_json_ = json.dump(2) + "\n";
    note_ = note_of(file_);
  }
  const WeightSource& weights() const override { return *source_; }
  std::string dtype(const std::string& tensor) const override { return source_->dtype(tensor); }
  std::optional<std::string> text(const std::string& file) const override {
    if (file == "config.json") return config_json_;
    if (file != "tokenizer.json" && file != "tokenizer_config.json") return {};
    const JsonFields metadata(file_.metadata(), name_);
    if (!metadata.has("tokenizer.ggml.model")) return {};
    const TokenizerTexts texts = tokenizer_from_gguf(metadata);
    return file == "tokenizer.json" ? texts.tokenizer : texts.config;
  }
  std::vector<fs::path> files() const override { return file_.paths(); }

 private:
  GgufFile file_;
  std::unique_ptr<GgufSource> source_;
  std::string config_json_;
};

}  // namespace

Tokenizer Checkpoint::tokenizer() const {
  const auto tokenizer = text("tokenizer.json");
  if (!tokenizer) throw Error(fmt::format("{}: expected a tokenizer.json, found none", name_));
  return Tokenizer::parse(*tokenizer, text("tokenizer_config.json").value_or(""), name_);
}

void tell(const std::string& note, const ProgressFn& progress) {
  if (!note.empty() && progress) progress({.stage = "opening", .unit = "files", .detail = note});
}

std::unique_ptr<Checkpoint> open_checkpoint(const fs::path& path, const ProgressFn& progress) {
  if (fs::is_directory(path)) return std::make_unique<Folder>(path);
  if (fs::exists(path) && !GgufFile::is_gguf(path))
    throw Error(fmt::format("{}: expected a checkpoint folder or a GGUF file, found neither",
                            path.string()));
  auto checkpoint = std::make_unique<Gguf>(path);
  tell(checkpoint->note(), progress);
  return checkpoint;
}

}  // namespace watersic
