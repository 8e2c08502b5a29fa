// A model to run: a checkpoint folder or a .wsic file, behind one face.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "model/config.h"
#include "model/weights.h"
#include "tokenizer/tokenizer.h"

namespace watersic {

class OpenModel {
 public:
  virtual ~OpenModel() = default;

  const std::string& name() const { return name_; }  // the path as given
  const ModelConfig& config() const { return config_; }
  virtual const WeightSource& weights() const = 0;
  // Throws Error where the model carries none.
  virtual Tokenizer tokenizer() const = 0;
  // Names the content; of a checkpoint it is computed by reading all of it.
  virtual std::string model_id() const = 0;

 protected:
  std::string name_;
  ModelConfig config_;
};

// Shapes of all tensors are checked. Throws Error.
std::unique_ptr<OpenModel> open_model(const std::filesystem::path& path);

// XXH3-64 over the files of a checkpoint folder that make up the model, in hex.
std::string checkpoint_id(const std::filesystem::path& dir);

}  // namespace watersic
