// A model to run: a checkpoint (a folder or a GGUF file) or a .wsic file, behind one face.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "model/config.h"
#include "model/linear_layer.h"
#include "model/weights.h"
#include "tokenizer/tokenizer.h"
#include "watersic/running.h"

namespace watersic {

class OpenModel {
 public:
  virtual ~OpenModel() = default;

  const std::string& name() const { return name_; }  // the path as given
  const std::string& note() const { return note_; }  // Checkpoint's
  const ModelConfig& config() const { return config_; }
  virtual const WeightSource& weights() const = 0;
  // The layer of a weight and a bias ("" for none), held as asked for; where it lies in the model's
  // files it is used there, so that the model must outlive it. Throws Error.
  std::shared_ptr<const LinearLayer> layer(const std::string& weight, const std::string& bias,
                                           WeightFormat format) const;
  // Whether the layers of embedding and head are, but in float32, one and the same: the rows are
  // the embedding's, the products the head's.
  virtual bool turns_embedding() const { return false; }
  // What it will take in memory; of a packed one an estimate.
  int64_t layer_bytes(const std::string& weight, WeightFormat format) const;
  // The content of a file like tokenizer.json; none where the model has no such file.
  virtual std::optional<std::string> text(const std::string& file) const = 0;
  // Names the content; a checkpoint's is computed by reading all of it.
  virtual std::string model_id() const = 0;

  // Throws Error where the model carries none.
  Tokenizer tokenizer() const;

 protected:
  // As the files hold it, in no more memory than that takes; none where float32 is all there is.
  // `exact`: inputs as they are.
  virtual std::shared_ptr<const LinearLayer> stored_layer(const std::string& /*weight*/,
                                                          std::vector<float> /*bias*/,
                                                          bool /*exact*/) const {
    return nullptr;
  }
  // What that takes; none where there is no such layer.
  virtual std::optional<int64_t> stored_bytes(const std::string& /*weight*/) const { return {}; }

  std::string name_, note_;
  ModelConfig config_;
};

// The shapes of all tensors are checked. `pool` must outlive the model. `progress` gets the note,
// if there is one. Throws Error.
std::unique_ptr<OpenModel> open_model(const std::filesystem::path& path, const Context& context);

}  // namespace watersic
