#include "checkpoint/gguf_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "checkpoint/gguf_layout.h"
#include "watersic/error.h"

namespace watersic {

GgufSource::GgufSource(const GgufFile& file, const ModelConfig& config)
    : file_(file), config_(config) {
  for (const ModelTensor& tensor : model_tensors(config)) {
    if (const GgufFile::Tensor* found = file.find(gguf_name(tensor.name)))
      tensors_[tensor.name] = found;
  }
  const auto known = [&](const GgufFile::Tensor& tensor) {
    return tensor.name == kGgufRopeDivisors ||
           std::any_of(tensors_.begin(), tensors_.end(),
                       [&](const auto& entry) { return entry.second == &tensor; });
  };
  for (const GgufFile::Tensor& tensor : file.tensors()) {
    if (!known(tensor)) {
      throw Error(fmt::format("{}: tensor '{}': expected no such tensor in a {}",
                              file.path().string(), tensor.name, config.architecture));
    }
  }
}

const GgufFile::Tensor& GgufSource::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw Error(fmt::format("{}: tensor '{}': found no such tensor", file_.path().string(), name));
  return *found->second;
}

std::vector<std::string> GgufSource::names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

WeightSource::Shape GgufSource::shape(const std::string& name) const {
  const GgufFile::Tensor& tensor = find(name);
  return {.rows = tensor.rows, .cols = tensor.cols};
}

Matrix<float> GgufSource::matrix(const std::string& name) const {
  const GgufFile::Tensor& tensor = find(name);
  Matrix<float> stored = file_.read(tensor);
  if (!is_permuted(config_, name)) return stored;
  if (tensor.is_vector) return with_our_columns(stored);
  Matrix<float> values(stored.rows(), stored.cols());
  for (int64_t i = 0; i < values.rows(); ++i) {
    const auto row = stored.row(gguf_row(config_, i));
    std::copy(row.begin(), row.end(), values.row(i).begin());
  }
  return values;
}

std::optional<WeightSource::Halves> GgufSource::halves(const std::string& name) const {
  const GgufFile::Tensor& tensor = find(name);
  if ((tensor.type != GgufType::kBF16 && tensor.type != GgufType::kF16) ||
      is_permuted(config_, name))
    return {};
  const auto bytes = file_.bytes(tensor);
  if (reinterpret_cast<uintptr_t>(bytes.data()) % 2 != 0) return {};  // a file aligned to bytes
  return Halves{.values = {reinterpret_cast<const uint16_t*>(bytes.data()), bytes.size() / 2},
                .bf16 = tensor.type == GgufType::kBF16};
}

Matrix<float> GgufSource::rows(const std::string& name, const std::vector<int32_t>& rows) const {
  const GgufFile::Tensor& tensor = find(name);
  if (!is_permuted(config_, name)) return file_.read_rows(tensor, rows);
  if (tensor.is_vector) return with_our_columns(file_.read_rows(tensor, rows));
  std::vector<int32_t> places;
  for (const int32_t row : rows) {
    const bool inside = row >= 0 && row < tensor.rows;  // or the file says what is wrong
    places.push_back(inside ? static_cast<int32_t>(gguf_row(config_, row)) : row);
  }
  return file_.read_rows(tensor, places);
}

// Of a bias, whose elements are the rows of its matrix.
Matrix<float> GgufSource::with_our_columns(const Matrix<float>& stored) const {
  Matrix<float> values(stored.rows(), stored.cols());
  for (int64_t i = 0; i < values.rows(); ++i)
    for (int64_t j = 0; j < values.cols(); ++j) values(i, j) = stored(i, gguf_row(config_, j));
  return values;
}

}  // namespace watersic
