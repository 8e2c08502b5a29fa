// A model in another basis: the residual stream turned by one orthogonal matrix, the values of each
// head by another. It computes the same function, so that any program that takes the original takes
// it too. The gains of the norms go into the matrices that read the stream, after which
// x / rms(x) commutes with a rotation (SliceGPT, arXiv 2401.15024; QuaRot, 2404.00456).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/threads.h"
#include "model/config.h"
#include "model/weights.h"

namespace watersic {

// Orthogonal matrices Q; a row vector x becomes x Q.
struct Rotation {
  Matrix<float> stream;  // hidden x hidden; empty: the stream and the norms stay as they are
  // By block and key-value head: head_dim x head_dim. Empty: heads stay as they are.
  std::vector<std::vector<Matrix<float>>> heads;
};

// The rotated model's configuration: a stream that is turned needs a head of its own, since the
// final norm's gain goes into the head and not into the embedding.
ModelConfig rotated_config(const ModelConfig& config, const Rotation& rotation);

// What of a model is turned. The ends are the embedding, the final norm and the head: a model whose
// blocks alone are turned may keep one matrix for embedding and head, and is whole again once its
// ends are turned, too.
enum class RotatedPart { kAll, kBlocks, kEnds };

class RotatedSource : public WeightSource {
 public:
  // `config`: the original's. `original` and `pool` must outlive the object.
  RotatedSource(ThreadPool& pool, const ModelConfig& config, const WeightSource& original,
                Rotation rotation, RotatedPart part = RotatedPart::kAll);

  std::vector<std::string> names() const override;
  bool has(const std::string& name) const override;
  Shape shape(const std::string& name) const override;
  Matrix<float> matrix(const std::string& name) const override;
  Matrix<float> rows(const std::string& name, const std::vector<int32_t>& rows) const override;

 private:
  // What happens to a tensor. Its columns, if they stand for the stream, are multiplied by the gain
  // of the norm before it and turned; its rows likewise turned; or either stand for heads.
  struct Place {
    std::string gain;                 // reads the stream through this norm
    bool embeds = false;              // its rows are points of the stream
    bool writes = false;              // its outputs are added to the stream
    bool is_norm = false;             // its gain is elsewhere now
    int64_t values = -1, heads = -1;  // gives, or reads, the values of this block
  };
  void place_ends();
  void place_blocks();
  const std::string& origin(const std::string& name) const;
  Matrix<float> through_stream(const Place& place, Matrix<float> W) const;

  ThreadPool& pool_;
  const ModelConfig config_;
  const WeightSource& original_;
  Rotation rotation_;
  bool adds_head_ = false;  // which the original has in its embedding
  std::map<std::string, Place> places_;
};

// config.json of a model with a head of its own, from one that may have none.
std::string untied_config(const std::string& text, const std::string& name);

}  // namespace watersic
