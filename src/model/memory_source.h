// A model's tensors in memory.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "model/weights.h"
#include "watersic/error.h"

namespace watersic {

class MemorySource : public WeightSource {
 public:
  void set(const std::string& name, Matrix<float> matrix) { tensors_[name] = std::move(matrix); }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    names.reserve(tensors_.size());
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    return names;
  }
  bool has(const std::string& name) const override { return tensors_.contains(name); }
  Shape shape(const std::string& name) const override {
    return {.rows = find(name).rows(), .cols = find(name).cols()};
  }
  Matrix<float> matrix(const std::string& name) const override { return find(name); }
  Matrix<float> rows(const std::string& name, const std::vector<int32_t>& rows) const override {
    const Matrix<float>& all = find(name);
    Matrix<float> some(static_cast<int64_t>(rows.size()), all.cols());
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto row = all.row(rows[i]);
      std::copy(row.begin(), row.end(), some.row(static_cast<int64_t>(i)).begin());
    }
    return some;
  }

 private:
  const Matrix<float>& find(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw Error("tensor '" + name + "': found no such tensor");
    return found->second;
  }

  std::map<std::string, Matrix<float>> tensors_;
};

}  // namespace watersic
