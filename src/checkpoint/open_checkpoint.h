// The one door to a model before it is quantized: a Hugging Face folder (safetensors) or a GGUF
// file (or the parts of one), behind one face.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "tokenizer/tokenizer.h"
#include "watersic/progress.h"

namespace watersic {

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  const std::string& name() const { return name_; }  // the path as given, for errors
  const ModelConfig& config() const { return config_; }
  // All tensors of the model (model_tensors), of the shapes that the configuration gives them.
  virtual const WeightSource& weights() const = 0;
  // What a user should know of it, a line; mostly empty.
  const std::string& note() const { return note_; }
  // How a tensor is stored: "BF16", "F16", "F32"; of a GGUF file "Q4_K" and the like as well.
  virtual std::string dtype(const std::string& tensor) const = 0;
  // The content of a file like "tokenizer.json"; none where the checkpoint has no such file. Of a
  // GGUF file, "config.json", "tokenizer.json" and "tokenizer_config.json" are made from its keys.
  virtual std::optional<std::string> text(const std::string& file) const = 0;
  // The files that hold the configuration and the weights.
  virtual std::vector<std::filesystem::path> files() const = 0;

  // Throws Error where the checkpoint has none, or one that is not implemented.
  Tokenizer tokenizer() const;

 protected:
  std::string name_, note_;
  ModelConfig config_;
};

// The shapes of all tensors are checked. `progress` gets the note, if there is one. Throws Error
// where `path` is neither a folder nor a GGUF file, or not a model that is implemented.
std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& path,
                                            const ProgressFn& progress = {});

// A note that is not empty, as a line of the stage "opening".
void tell(const std::string& note, const ProgressFn& progress);

}  // namespace watersic
