// A .wsic file as a source of weights, as it holds them: quantized tensors are decoded when they
// are asked for. The one that rows were last asked of, an embedding, stays decoded: 4 bytes a
// weight.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/threads.h"
#include "container/read_container.h"
#include "model/rotated_source.h"
#include "model/weights.h"

namespace watersic {

// The rotation that a file's ends wait for (docs/format.md, "The basis"); an empty one where the
// file has none. Throws Error.
Rotation stored_rotation(const ContainerReader& reader, const ModelConfig& config,
                         ThreadPool& pool);

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
  std::shared_ptr<const Matrix<float>> decoded(const std::string& name) const;

  const ContainerReader& reader_;
  ThreadPool& pool_;
  mutable std::mutex mutex_;
  mutable std::string decoded_name_;
  mutable std::shared_ptr<const Matrix<float>> decoded_;
};

}  // namespace watersic
