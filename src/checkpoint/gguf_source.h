// A GGUF file as a source of weights, under the names and in the order of rows of a Hugging Face
// checkpoint.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/gguf.h"
#include "model/config.h"
#include "model/weights.h"

namespace watersic {

class GgufSource : public WeightSource {
 public:
  // `config` is the one of the same file (config_from_gguf); `file` must outlive the source. Throws
  // Error for a tensor that is not one of the model's.
  GgufSource(const GgufFile& file, const ModelConfig& config);

  std::vector<std::string> names() const override;
  bool has(const std::string& name) const override { return tensors_.contains(name); }
  Shape shape(const std::string& name) const override;
  Matrix<float> matrix(const std::string& name) const override;
  Matrix<float> rows(const std::string& name, const std::vector<int32_t>& rows) const override;
  std::optional<Halves> halves(const std::string& name) const override;
  // As in the file: "BF16".
  std::string dtype(const std::string& name) const { return to_string(find(name).type); }

 private:
  const GgufFile::Tensor& find(const std::string& name) const;
  Matrix<float> with_our_columns(const Matrix<float>& stored) const;

  const GgufFile& file_;
  ModelConfig config_;
  std::map<std::string, const GgufFile::Tensor*> tensors_;
};

}  // namespace watersic
