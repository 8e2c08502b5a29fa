// The one door to a model before it is quantized: a Hugging Face folder (safetensors) or a GGUF
// file, behind one face.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "tokenizer/tokenizer.h"

namespace watersic {

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  const std::string& name() const { return name_; }  // the path as given, for errors
  const ModelConfig& config() const { return config_; }
  // All tensors of the model (model_tensors), of the shapes that the configuration gives them.
  virtual const WeightSource& weights() const = 0;
  // How a tensor is stored: "BF16", "F16", "F32", "Q8_0" (GGUF only).
  virtual std::string dtype(const std::string& tensor) const = 0;
  // The content of a file like "tokenizer.json"; none where the checkpoint has no such file. Of a
  // GGUF file, "config.json", "tokenizer.json" and "tokenizer_config.json" are made from its keys.
  virtual std::optional<std::string> text(const std::string& file) const = 0;
  // The files that hold the configuration and the weights.
  virtual std::vector<std::filesystem::path> files() const = 0;

  // Throws Error where the checkpoint has none, or one that is not implemented.
  Tokenizer tokenizer() const;

 protected:
  std::string name_;
  ModelConfig config_;
};

// The shapes of all tensors are checked. Throws Error where `path` is neither a folder nor a GGUF
// file, or not a model that is implemented.
std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& path);

}  // namespace watersic
