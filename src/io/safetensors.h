// Tensors in the safetensors format (https://github.com/huggingface/safetensors): 8 bytes of header
// length, a JSON header, then the tensors' bytes one after the other without gaps. A file is
// mapped, never copied whole, and believed in nothing: every offset is checked when it is opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/atomic_file.h"
#include "io/mapped_file.h"
#include "watersic/matrix.h"

namespace watersic {

// `dtype` is spelt as in the header: "F32", "F16", "BF16", "I64", ...
struct TensorSpec {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
};

class SafetensorsFile {
 public:
  struct Entry : TensorSpec {
    uint64_t begin = 0, end = 0;  // bytes, counted from the end of the header
  };

  // Throws Error, naming the file and the tensor, where the header does not describe the file.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<Entry>& entries() const { return entries_; }  // in the order of their bytes
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Null where there is no such tensor.
  const Entry* find(const std::string& name) const;
  std::span<const std::byte> bytes(const Entry& entry) const;

  // A tensor of at most two dimensions as a matrix (a vector has one row), or some of its rows.
  // F32, F16 and BF16 are converted to float32; every other dtype is an Error, and so is a value
  // that is NaN or infinite. The pages of a tensor read whole are given back afterwards.
  Matrix<float> read(const Entry& entry) const;
  Matrix<float> read_rows(const Entry& entry, std::span<const int32_t> rows) const;
  // {rows, cols}; Error where there are more than two dimensions.
  std::pair<int64_t, int64_t> matrix_shape(const Entry& entry) const;

 private:
  std::string name_of(const TensorSpec& tensor) const;
  void check_readable(const Entry& entry) const;
  void convert_row(const Entry& entry, int64_t row, std::span<float> values) const;

  MappedFile file_;
  std::span<const std::byte> data_;  // what follows the header
  std::vector<Entry> entries_;
  std::map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// Writes tensors one after the other, in the order given at first, without holding them. The file
// appears with commit().
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                    const std::map<std::string, std::string>& metadata = {});

  // The next values of the current tensor, which must be F32, F16 or BF16 (rounded to nearest) and
  // may come in parts; a tensor that is full gives way to the next.
  void write(std::span<const float> values);
  // The same for values already in the tensor's dtype.
  void write_bytes(std::span<const std::byte> bytes);
  // All tensors must have been written whole.
  void commit();

 private:
  void skip_full_tensors();

  std::vector<TensorSpec> tensors_;
  std::vector<uint64_t> sizes_;  // bytes of each tensor
  size_t current_ = 0;
  uint64_t written_ = 0;  // bytes of the current tensor
  AtomicFile file_;
};

}  // namespace watersic
