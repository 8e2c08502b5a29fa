#include "runtime/open_model.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "checkpoint/open_checkpoint.h"
#include "container/read_container.h"
#include "io/gguf.h"
#include "io/json.h"
#include "io/mapped_file.h"
#include "runtime/container_source.h"
#include "runtime/layers.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// A folder or a GGUF file.
class Unquantized : public OpenModel {
 public:
  Unquantized(const std::filesystem::path& path, const ProgressFn& progress)
      : checkpoint_(open_checkpoint(path, progress)) {
    name_ = checkpoint_->name();
    note_ = checkpoint_->note();
    config_ = checkpoint_->config();
  }
  const WeightSource& weights() const override { return checkpoint_->weights(); }
  std::optional<std::string> text(const std::string& file) const override {
    return checkpoint_->text(file);
  }
  std::string model_id() const override {
    // Names and contents of the configuration and of all weight files; of the one file of a GGUF
    // model its content, whatever its name.
    const auto files = checkpoint_->files();
    if (files.size() == 1) return hex_hash(MappedFile(files.front()).bytes());
    std::string parts;
    for (const auto& file : files)
      parts += file.filename().string() + " " + hex_hash(MappedFile(file).bytes()) + "\n";
    return hex_hash(parts);
  }

 protected:
  std::shared_ptr<const LinearLayer> stored_layer(const std::string& weight,
                                                  std::vector<float> bias,
                                                  bool /*exact*/) const override {
    if (const auto halves = weights().halves(weight)) {
      const auto [rows, cols] = weights().shape(weight);
      return std::make_shared<HalfLayer>(halves->bf16 ? HalfKind::kBf16 : HalfKind::kHalf,
                                         halves->values, rows, cols, std::move(bias));
    }
    const std::string type = checkpoint_->dtype(weight);
    if (type != "BF16" && type != "F16") return nullptr;
    return std::make_shared<HalfLayer>(type == "BF16" ? HalfKind::kBf16 : HalfKind::kHalf,
                                       weights().matrix(weight), std::move(bias));
  }
  std::optional<int64_t> stored_bytes(const std::string& weight) const override {
    const std::string type = checkpoint_->dtype(weight);
    if (type != "BF16" && type != "F16" && !weights().halves(weight)) return {};
    const auto [rows, cols] = weights().shape(weight);
    return 2 * rows * cols;
  }

 private:
  std::unique_ptr<Checkpoint> checkpoint_;
};

class Container final : public OpenModel {
 public:
  Container(const std::filesystem::path& path, ThreadPool& pool)
      : reader_(path), pool_(pool), source_(reader_, pool) {
    name_ = path.string();
    const std::string config_name = name_ + ": config.json";
    config_ = parse_config(parse_json(reader_.text("config.json"), config_name), config_name);
    if (const auto generation = text("generation_config.json")) {
      const std::string generation_name = name_ + ": generation_config.json";
      add_generation_config(config_, parse_json(*generation, generation_name), generation_name);
    }
    check_tensors(config_, source_);
    Rotation rotation = stored_rotation(reader_, config_, pool);
    if (rotation.stream.empty()) return;
    const ModelConfig stored = config_;
    config_ = rotated_config(stored, rotation);
    if (stored.tied_embeddings) basis_ = rotation.stream;
    rotated_ = std::make_unique<RotatedSource>(pool, stored, source_, std::move(rotation),
                                               RotatedPart::kEnds);
  }
  const WeightSource& weights() const override {
    if (rotated_) return *rotated_;
    return source_;
  }
  std::optional<std::string> text(const std::string& file) const override {
    if (!reader_.has(file)) return {};
    if (rotated_ && file == "config.json")
      return untied_config(reader_.text(file), name_ + ": config.json");
    return reader_.text(file);
  }
  std::string model_id() const override { return reader_.checked_model_id(); }
  bool turns_embedding() const override { return !basis_.empty(); }

 protected:
  std::shared_ptr<const LinearLayer> stored_layer(const std::string& weight,
                                                  std::vector<float> bias,
                                                  bool exact) const override {
    if (rotated_ && (weight == kEmbedding || weight == kHead)) {
      if (basis_.empty()) return nullptr;
      // One matrix for both, made once.
      auto both = turned_.lock();
      if (!both) {
        both = std::make_shared<TurnedEmbedding>(coded_layer(kEmbedding, {}, exact), basis_,
                                                 source_.vector(kFinalNorm), exact);
        turned_ = both;
      }
      return both;
    }
    return coded_layer(weight, std::move(bias), exact);
  }
  std::optional<int64_t> stored_bytes(const std::string& weight) const override {
    if (!rotated_ || (weight != kEmbedding && weight != kHead)) return coded_bytes(weight);
    if (basis_.empty()) return {};
    return weight == kHead ? 0 : coded_bytes(kEmbedding) + 4 * basis_.size();
  }

 private:
  // Packed, an integer takes the width of its column's range, which is about two bits more than its
  // share of an entropy code.
  int64_t coded_bytes(const std::string& weight) const {
    const Section& section = reader_.section(weight);
    const int64_t weights = section.rows() * section.cols();
    if (section.kind != SectionKind::kQuantized) return 2 * weights;
    const auto bytes = static_cast<int64_t>(section.length);
    return reader_.is_runnable(section) ? bytes : bytes + 2 * weights / 8;
  }
  std::shared_ptr<const LinearLayer> coded_layer(const std::string& weight, std::vector<float> bias,
                                                 bool exact) const {
    const Section& section = reader_.section(weight);
    if (section.kind != SectionKind::kQuantized) {
      return std::make_shared<HalfLayer>(
          section.kind == SectionKind::kBf16 ? HalfKind::kBf16 : HalfKind::kHalf,
          reader_.raw(weight), section.rows(), section.cols(), std::move(bias));
    }
    const TensorDecoder decoder = reader_.decoder(weight);
    const auto precision = exact ? InputPrecision::kFloat : InputPrecision::kInt8;
    if (const QuantizedTensor& q = decoder.tensor(); !q.bitshift.empty())
      return std::make_shared<BitshiftLayer>(bitshift_matrix(q, q.bitshift, decoder.payload()),
                                             q.rotation, std::move(bias), precision);
    auto layer = std::make_shared<PackedLayer>(pool_, decoder, std::move(bias), precision);
    reader_.release(weight);
    return layer;
  }

  ContainerReader reader_;
  ThreadPool& pool_;
  ContainerSource source_;
  std::unique_ptr<RotatedSource> rotated_;  // where the file has a basis
  Matrix<float> basis_;                     // the basis, where embedding and head are one matrix
  mutable std::weak_ptr<const LinearLayer> turned_;
};

}  // namespace

int64_t OpenModel::layer_bytes(const std::string& weight, WeightFormat format) const {
  if (format != WeightFormat::kFloat32)
    if (const auto bytes = stored_bytes(weight)) return *bytes;
  const auto [rows, cols] = weights().shape(weight);
  return rows * cols * static_cast<int64_t>(sizeof(float));
}

std::shared_ptr<const LinearLayer> OpenModel::layer(const std::string& weight,
                                                    const std::string& bias,
                                                    WeightFormat format) const {
  std::vector<float> b = bias.empty() ? std::vector<float>() : weights().vector(bias);
  if (format != WeightFormat::kFloat32) {
    if (auto stored = stored_layer(weight, b, format == WeightFormat::kExact)) return stored;
  }
  return std::make_shared<DenseLayer>(weights().matrix(weight), std::move(b));
}

Tokenizer OpenModel::tokenizer() const {
  const auto tokenizer = text("tokenizer.json");
  if (!tokenizer) throw Error(fmt::format("{}: expected a tokenizer.json, found none", name_));
  return Tokenizer::parse(*tokenizer, text("tokenizer_config.json").value_or(""),
                          name_ + ": tokenizer.json");
}

std::unique_ptr<OpenModel> open_model(const std::filesystem::path& path, const Context& context) {
  if (std::filesystem::is_directory(path) || GgufFile::is_gguf(path))
    return std::make_unique<Unquantized>(path, context.progress());
  return std::make_unique<Container>(path, context.pool());
}

}  // namespace watersic
