// GGUF, the files of llama.cpp (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md):
//
//   "GGUF" | version | number of tensors, of keys | keys with their values | tensors' names,
//   shapes, types and offsets | padding | the tensors' bytes, each padded to the alignment
//
// Versions 2 and 3, little-endian. A file is mapped, never copied whole, and believed in nothing:
// every length is checked when it is opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/json.h"
#include "io/mapped_file.h"
#include "watersic/matrix.h"

namespace watersic {

inline constexpr uint32_t kGgufVersion = 3;
inline constexpr uint64_t kGgufAlignment = 32;

// The element types that are read and written, by their numbers in the file.
enum class GgufType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ8_0 = 8,  // blocks of 32 values in a row: a half d and 32 signed bytes q; the values are d q
  kBF16 = 30,
};
inline constexpr int64_t kQ8Block = 32;
inline constexpr uint64_t kQ8BlockBytes = 34;
const char* to_string(GgufType type);  // "Q8_0"
// Of one row; `cols` is a multiple of kQ8Block for kQ8_0.
uint64_t row_bytes(GgufType type, int64_t cols);

// Numbers of the types of a value in the metadata.
enum class GgufValue : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kText = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

class GgufFile {
 public:
  struct Tensor {
    std::string name;
    GgufType type = GgufType::kF32;
    int64_t rows = 1, cols = 1;  // a vector has one row
    bool is_vector = false;      // one dimension in the file
    uint64_t begin = 0;          // in the file
    uint64_t bytes = 0;
  };

  // Throws Error, naming the file and the key or tensor, where the file is not what its head says,
  // or holds a tensor of another type or of more than two dimensions.
  explicit GgufFile(const std::filesystem::path& path);
  // Whether a file begins as a GGUF file does.
  static bool is_gguf(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  std::span<const std::byte> bytes() const { return file_.bytes(); }
  // The keys with their values, as one object. Texts are valid UTF-8.
  const Json& metadata() const { return metadata_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }  // in the order of the file
  // Null where there is no such tensor.
  const Tensor* find(const std::string& name) const;

  // The values in float32, all or those of some rows. Error where one is NaN or infinite. The pages
  // of a tensor read whole are given back afterwards.
  Matrix<float> read(const Tensor& tensor) const;
  Matrix<float> read_rows(const Tensor& tensor, std::span<const int32_t> rows) const;

 private:
  class Cursor;
  void read_tensors(Cursor& cursor, uint64_t count);
  uint64_t alignment() const;
  std::string name_of(const Tensor& tensor) const;
  void convert_row(const Tensor& tensor, int64_t row, std::span<float> values) const;

  MappedFile file_;
  Json metadata_ = Json::object();
  std::vector<Tensor> tensors_;
  std::map<std::string, size_t> index_;
};

}  // namespace watersic
