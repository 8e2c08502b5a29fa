#include "io/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "io/float_values.h"
#include "io/text.h"
#include "watersic/error.h"

namespace watersic {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr std::string_view kMagic = "GGUF";
// What a head may hold. A vocabulary of 2^18 tokens has half a million elements and a few MiB.
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxElements = uint64_t{1} << 24;  // of all arrays
constexpr uint64_t kMaxNameBytes = 65535;
constexpr uint64_t kMaxTextBytes = uint64_t{256} << 20;  // of all texts
constexpr int kMaxDepth = 4;                             // of arrays in arrays
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint32_t kMaxDimensions = 4;
constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;  // of one dimension
constexpr int64_t kMaxValues = int64_t{1} << 40;      // of a tensor

// Of a value of this type, at least.
uint64_t least_bytes(GgufValue type) {
  switch (type) {
    case GgufValue::kUint8:
    case GgufValue::kInt8:
    case GgufValue::kBool:
      return 1;
    case GgufValue::kUint16:
    case GgufValue::kInt16:
      return 2;
    case GgufValue::kUint32:
    case GgufValue::kInt32:
    case GgufValue::kFloat32:
      return 4;
    case GgufValue::kText:
    case GgufValue::kUint64:
    case GgufValue::kInt64:
    case GgufValue::kFloat64:
      return 8;
    case GgufValue::kArray:
      return 12;
  }
  return 0;
}

// The name of a type that is not read; its number where it has none that we know.
std::string type_name(uint32_t type) {
  static constexpr std::array kNames = {
      "F32",     "F16",    "Q4_0",    "Q4_1",  "4",      "5",     "Q5_0",  "Q5_1",
      "Q8_0",    "Q8_1",   "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
      "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
      "I8",      "I16",    "I32",     "I64",   "F64",    "IQ1_M", "BF16"};
  return type < kNames.size() ? kNames[type] : fmt::format("the type {}", type);
}

uint64_t padded(uint64_t size, uint64_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

}  // namespace

const char* to_string(GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return "F32";
    case GgufType::kF16:
      return "F16";
    case GgufType::kQ8_0:
      return "Q8_0";
    case GgufType::kBF16:
      return "BF16";
  }
  return "";
}

uint64_t row_bytes(GgufType type, int64_t cols) {
  const auto count = static_cast<uint64_t>(cols);
  if (type == GgufType::kQ8_0) return count / kQ8Block * kQ8BlockBytes;
  return count * (type == GgufType::kF32 ? 4 : 2);
}

// Walks through the head of a file.
class GgufFile::Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string name)
      : bytes_(bytes), name_(std::move(name)) {}

  // What is read, for errors: "key 'general.name'".
  void at(std::string what) { what_ = std::move(what); }
  uint64_t offset() const { return offset_; }
  uint64_t left() const { return bytes_.size() - offset_; }

  template <class T>
  T number() {
    need(sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }
  std::string text(uint64_t limit) {
    const auto length = number<uint64_t>();
    if (length > limit)
      fail(fmt::format("expected a text of at most {} bytes, found {}", limit, length));
    need(length);
    std::string text(reinterpret_cast<const char*>(bytes_.data() + offset_), length);
    offset_ += length;
    if (find_invalid_utf8(text) != std::string_view::npos)
      fail("expected UTF-8, found other bytes");
    return text;
  }
  Json value() { return value(type(), 0); }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: {}: {}", name_, what_, what));
  }

 private:
  void need(uint64_t bytes) const {
    if (bytes > left())
      fail(fmt::format("the file is cut short: expected {} bytes from offset {}, found {}", bytes,
                       offset_, left()));
  }
  GgufValue type() {
    const auto type = number<uint32_t>();
    if (type > static_cast<uint32_t>(GgufValue::kFloat64))
      fail(fmt::format("expected the number of a type of value, found {}", type));
    return static_cast<GgufValue>(type);
  }
  Json value(GgufValue type, int depth);
  Json array(int depth);

  std::span<const std::byte> bytes_;
  std::string name_, what_;
  uint64_t offset_ = 0;
  uint64_t elements_ = 0, text_bytes_ = 0;  // so far
};

Json GgufFile::Cursor::value(GgufValue type, int depth) {
  switch (type) {
    case GgufValue::kUint8:
      return number<uint8_t>();
    case GgufValue::kInt8:
      return number<int8_t>();
    case GgufValue::kUint16:
      return number<uint16_t>();
    case GgufValue::kInt16:
      return number<int16_t>();
    case GgufValue::kUint32:
      return number<uint32_t>();
    case GgufValue::kInt32:
      return number<int32_t>();
    case GgufValue::kFloat32:
      return number<float>();
    case GgufValue::kUint64:
      return number<uint64_t>();
    case GgufValue::kInt64:
      return number<int64_t>();
    case GgufValue::kFloat64:
      return number<double>();
    case GgufValue::kBool: {
      const auto value = number<uint8_t>();
      if (value > 1) fail(fmt::format("expected 0 or 1 for a truth value, found {}", value));
      return value == 1;
    }
    case GgufValue::kText: {
      std::string value = text(kMaxTextBytes - text_bytes_);
      text_bytes_ += value.size();
      return value;
    }
    case GgufValue::kArray:
      return array(depth);
  }
  fail("expected a value");
}

Json GgufFile::Cursor::array(int depth) {
  if (depth == kMaxDepth) fail(fmt::format("expected at most {} arrays in each other", kMaxDepth));
  const GgufValue element = type();
  const auto count = number<uint64_t>();
  const uint64_t limit = std::min(kMaxElements - elements_, left() / least_bytes(element));
  if (count > limit)
    fail(fmt::format("expected an array of at most {} elements, found {}", limit, count));
  elements_ += count;
  Json array = Json::array();
  array.get_ref<Json::array_t&>().reserve(count);
  for (uint64_t i = 0; i < count; ++i) array.push_back(value(element, depth + 1));
  return array;
}

bool GgufFile::is_gguf(const std::filesystem::path& path) {
  std::array<char, 4> magic{};
  std::ifstream in(path, std::ios::binary);
  return in.read(magic.data(), magic.size()) && std::string_view(magic.data(), 4) == kMagic;
}

GgufFile::GgufFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  Cursor cursor(file_.bytes(), name);
  cursor.at("header");
  const auto magic = cursor.number<std::array<char, 4>>();
  if (std::string_view(magic.data(), 4) != kMagic)
    cursor.fail("is not a GGUF file: expected it to begin with \"GGUF\"");
  const auto version = cursor.number<uint32_t>();
  if (version != kGgufVersion && version != 2) {
    const bool big_endian = version >= 1 << 24;
    cursor.fail(fmt::format("version: expected 2 or 3, found {}",
                            big_endian ? "a big-endian file" : std::to_string(version)));
  }
  const auto tensors = cursor.number<uint64_t>(), keys = cursor.number<uint64_t>();
  if (keys > kMaxKeys)
    cursor.fail(fmt::format("expected at most {} keys, found {}", kMaxKeys, keys));
  if (tensors > kMaxTensors)
    cursor.fail(fmt::format("expected at most {} tensors, found {}", kMaxTensors, tensors));
  for (uint64_t i = 0; i < keys; ++i) {
    cursor.at(fmt::format("key {} of {}", i + 1, keys));
    const std::string key = cursor.text(kMaxNameBytes);
    cursor.at(fmt::format("key '{}'", key));
    if (metadata_.contains(key)) cursor.fail("expected each key once");
    metadata_[key] = cursor.value();
  }
  read_tensors(cursor, tensors);
}

uint64_t GgufFile::alignment() const {
  const JsonFields fields(metadata_, path().string());
  const int64_t alignment = fields.integer("general.alignment", kGgufAlignment);
  if (alignment < 1 || alignment > static_cast<int64_t>(kMaxAlignment) ||
      !std::has_single_bit(static_cast<uint64_t>(alignment)))
    fields.fail("general.alignment", fmt::format("a power of two up to {}", kMaxAlignment));
  return static_cast<uint64_t>(alignment);
}

void GgufFile::read_tensors(Cursor& cursor, uint64_t count) {
  const uint64_t alignment = this->alignment();
  uint64_t end = 0;  // of the tensor before, padded; offsets count from the first tensor
  for (uint64_t i = 0; i < count; ++i) {
    cursor.at(fmt::format("tensor {} of {}", i + 1, count));
    Tensor tensor;
    tensor.name = cursor.text(kMaxNameBytes);
    cursor.at(fmt::format("tensor '{}'", tensor.name));
    if (!index_.emplace(tensor.name, i).second) cursor.fail("expected each tensor once");
    const auto dimensions = cursor.number<uint32_t>();
    if (dimensions > kMaxDimensions)
      cursor.fail(
          fmt::format("expected at most {} dimensions, found {}", kMaxDimensions, dimensions));
    std::array<int64_t, kMaxDimensions> sizes = {1, 1, 1, 1};  // the fastest first
    int64_t values = 1;
    for (uint32_t d = 0; d < dimensions; ++d) {
      const auto size = cursor.number<uint64_t>();
      const int64_t most = std::min(kMaxSize, kMaxValues / values);
      if (size < 1 || size > static_cast<uint64_t>(most))
        cursor.fail(fmt::format("shape: expected a size from 1 to {}, found {}", most, size));
      sizes[d] = static_cast<int64_t>(size);
      values *= sizes[d];
    }
    if (sizes[2] != 1 || sizes[3] != 1)
      cursor.fail(fmt::format("shape: expected at most two dimensions, found {} x {} x {} x {}",
                              sizes[3], sizes[2], sizes[1], sizes[0]));
    tensor.cols = sizes[0];
    tensor.rows = sizes[1];
    tensor.is_vector = dimensions < 2;
    const auto type = cursor.number<uint32_t>();
    tensor.type = static_cast<GgufType>(type);
    if (*to_string(tensor.type) == '\0')
      cursor.fail(fmt::format(
          "type: expected F32, F16, BF16 or Q8_0 (a checkpoint before it is quantized), found {}",
          type_name(type)));
    if (tensor.type == GgufType::kQ8_0 && tensor.cols % kQ8Block != 0)
      cursor.fail(fmt::format("shape: expected rows of a multiple of {} values for Q8_0, found {}",
                              kQ8Block, tensor.cols));
    tensor.bytes = static_cast<uint64_t>(tensor.rows) * row_bytes(tensor.type, tensor.cols);
    tensor.begin = cursor.number<uint64_t>();
    if (tensor.begin != end)
      cursor.fail(fmt::format("offset: expected {}, where the tensor before ends, found {}", end,
                              tensor.begin));
    end += padded(tensor.bytes, alignment);
    tensors_.push_back(std::move(tensor));
  }
  const uint64_t data = padded(cursor.offset(), alignment);
  for (Tensor& tensor : tensors_) {
    tensor.begin += data;
    if (tensor.begin > file_.bytes().size() || tensor.bytes > file_.bytes().size() - tensor.begin)
      throw Error(fmt::format(
          "{}: the file is cut short: expected {} bytes at offset {}, found a file of {}",
          name_of(tensor), tensor.bytes, tensor.begin, file_.bytes().size()));
  }
}

const GgufFile::Tensor* GgufFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::string GgufFile::name_of(const Tensor& tensor) const {
  return fmt::format("{}: tensor '{}'", path().string(), tensor.name);
}

void GgufFile::convert_row(const Tensor& tensor, int64_t row, std::span<float> values) const {
  const std::byte* from = file_.bytes().data() + tensor.begin +
                          static_cast<uint64_t>(row) * row_bytes(tensor.type, tensor.cols);
  switch (tensor.type) {
    case GgufType::kF32:
      convert_values<float>(from, values, [](float x) { return x; });
      break;
    case GgufType::kF16:
      convert_values<uint16_t>(from, values, float_from_half);
      break;
    case GgufType::kBF16:
      convert_values<uint16_t>(from, values, float_from_bf16);
      break;
    case GgufType::kQ8_0:
      for (; !values.empty(); values = values.subspan(kQ8Block), from += kQ8BlockBytes) {
        uint16_t half;
        std::memcpy(&half, from, sizeof half);
        const float scale = float_from_half(half);
        convert_values<int8_t>(from + sizeof half, values.first(kQ8Block),
                               [scale](int8_t q) { return scale * static_cast<float>(q); });
      }
      break;
  }
}

Matrix<float> GgufFile::read_rows(const Tensor& tensor, std::span<const int32_t> rows) const {
  Matrix<float> values(static_cast<int64_t>(rows.size()), tensor.cols);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < 0 || rows[i] >= tensor.rows) {
      throw Error(fmt::format("{}: expected a row below {}, found {}", name_of(tensor), tensor.rows,
                              rows[i]));
    }
    const auto row = values.row(static_cast<int64_t>(i));
    convert_row(tensor, rows[i], row);
    if (all_finite(row)) continue;
    for (size_t j = 0; j < row.size(); ++j) {
      if (!std::isfinite(row[j]))
        throw Error(fmt::format("{}: expected finite values, found {} at row {}, column {}",
                                name_of(tensor), row[j], rows[i], j));
    }
  }
  return values;
}

Matrix<float> GgufFile::read(const Tensor& tensor) const {
  std::vector<int32_t> rows(static_cast<size_t>(tensor.rows));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
  Matrix<float> values = read_rows(tensor, rows);
  file_.release(file_.bytes().subspan(tensor.begin, tensor.bytes));
  return values;
}

}  // namespace watersic
