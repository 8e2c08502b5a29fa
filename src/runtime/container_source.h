// A .wsic file as a source of weights: quantized tensors are decoded when they are asked for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/threads.h"
#include "container/read_container.h"
#include "model/weights.h"

namespace watersic {

class ContainerSource : public WeightSource {
 public:
  // `reader` and `pool` must outlive the source.
  ContainerSource(const ContainerReader& reader, ThreadPool& pool) : reader_(reader), pool_(pool) {}

  std::vector<std::string> names() const override;
  bool has(const std::string& name) const override;
  Shape shape(const std::string& name) const override;
  Matrix<float> matrix(const std::string& name) const override;
  Matrix<float> rows(const std::string& name, const std::vector<int32_t>& rows) const override;

 private:
  const Section& tensor(const std::string& name) const;

  const ContainerReader& reader_;
  ThreadPool& pool_;
};

}  // namespace watersic
