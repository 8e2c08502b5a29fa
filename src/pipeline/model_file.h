// The file that a run writes: the tensors that its work folder holds, and what of the model goes
// along as it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/open_checkpoint.h"
#include "container/write_container.h"
#include "pipeline/embeddings.h"
#include "pipeline/model_basis.h"
#include "pipeline/plan.h"
#include "pipeline/work_folder.h"
#include "watersic/quantize.h"

namespace watersic {

class ModelFile {
 public:
  // All must outlive the object.
  ModelFile(const std::filesystem::path& path, const Checkpoint& checkpoint,
            const ModelBasis& basis)
      : path_(path), checkpoint_(checkpoint), basis_(basis) {}

  // What the file takes besides its quantized tensors, all but exactly: texts and tensors that are
  // kept in 16 bits.
  int64_t other_bytes(const std::set<std::string>& quantized) const;
  // What the basis takes of it.
  uint64_t axes_bytes() const;

  // Writes it, and puts into `report` what everything took: report.layers and embeddings are
  // complete but for that.
  void write(const std::vector<std::vector<LayerPlan>>& plan,
             const std::vector<EmbeddingPlan>& embeddings, const WorkFolder& work,
             QuantizeReport& report) const;

 private:
  // All return what they take of the file.
  uint64_t add_axes(ContainerWriter& writer) const;
  uint64_t add_texts(ContainerWriter& writer) const;
  uint64_t add_kept(ContainerWriter& writer, const std::set<std::string>& quantized) const;
  ContainerWriter trial() const { return ContainerWriter(path_.string() + ".size"); }

  const std::filesystem::path& path_;
  const Checkpoint& checkpoint_;
  const ModelBasis& basis_;
};

// The names of all that is quantized.
std::set<std::string> quantized_names(const std::vector<std::vector<LayerPlan>>& plan,
                                      const std::vector<EmbeddingPlan>& embeddings);

}  // namespace watersic
