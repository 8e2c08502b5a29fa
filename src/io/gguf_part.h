// One GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md):
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
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf_types.h"
#include "io/json.h"
#include "io/mapped_file.h"

namespace watersic {

inline constexpr std::string_view kGgufMagic = "GGUF";
inline constexpr uint32_t kGgufVersion = 3;
inline constexpr uint64_t kGgufAlignment = 32;  // unless general.alignment says another

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

struct GgufTensor {
  std::string name;
  GgufType type = GgufType::kF32;
  int64_t rows = 1, cols = 1;  // a vector has one row
  bool is_vector = false;      // one dimension in the file
  uint64_t begin = 0;          // in the file
  uint64_t bytes = 0;
};

class GgufPart {
 public:
  // Throws Error, naming the file and the key or tensor, where the file is not what its head says,
  // or holds a tensor of a type that is not read or of more than two dimensions.
  explicit GgufPart(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  // The keys with their values, as one object. Texts are valid UTF-8.
  const Json& metadata() const { return metadata_; }
  // In the order of the file. A name may be there twice.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  std::span<const std::byte> bytes(const GgufTensor& tensor) const {
    return file_.bytes().subspan(tensor.begin, tensor.bytes);
  }
  void release(const GgufTensor& tensor) const { file_.release(bytes(tensor)); }

 private:
  class Cursor;
  void read_tensors(Cursor& cursor, uint64_t count);
  uint64_t alignment() const;

  MappedFile file_;
  Json metadata_ = Json::object();
  std::vector<GgufTensor> tensors_;
};

}  // namespace watersic
