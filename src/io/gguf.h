// A model's tensors and keys from GGUF, the files of llama.cpp: one file (gguf_part.h), or all
// parts of one that llama-gguf-split cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/gguf_part.h"
#include "watersic/matrix.h"

namespace watersic {

class GgufFile {
 public:
  struct Tensor : GgufTensor {
    size_t part = 0;
  };

  // Of a split file any part will do; the others are found beside it by their names,
  // NAME-00001-of-00003.gguf. Throws Error as GgufPart does, and where a part is missing, is not
  // what its name and the first say, or has a tensor that another has.
  explicit GgufFile(const std::filesystem::path& path);
  // Whether a file begins as a GGUF file does.
  static bool is_gguf(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }  // as given
  std::vector<std::filesystem::path> paths() const;            // of all parts
  // The first part's: a split file has those of the model there.
  const Json& metadata() const { return parts_.front().metadata(); }
  const std::vector<Tensor>& tensors() const { return tensors_; }  // in the order of the files
  // Null where there is no such tensor.
  const Tensor* find(const std::string& name) const;
  std::span<const std::byte> bytes(const Tensor& tensor) const {
    return parts_[tensor.part].bytes(tensor);
  }

  // The values in float32, all or those of some rows. Error where one is NaN or infinite. The pages
  // of a tensor read whole are given back afterwards.
  Matrix<float> read(const Tensor& tensor) const;
  Matrix<float> read_rows(const Tensor& tensor, std::span<const int32_t> rows) const;

 private:
  void add_part(GgufPart part);
  std::string name_of(const Tensor& tensor) const;
  void convert_row(const Tensor& tensor, int64_t row, std::span<float> values) const;

  std::filesystem::path path_;
  std::vector<GgufPart> parts_;
  std::vector<Tensor> tensors_;
  std::map<std::string, size_t> index_;
};

}  // namespace watersic
