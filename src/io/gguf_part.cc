#include "io/gguf_part.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/text.h"
#include "watersic/error.h"

namespace watersic {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

// What a head may hold. A vocabulary of 2^18 tokens has half a million elements and a few MiB.
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxElements = uint64_t{1} << 24;  // of all arrays
constexpr uint64_t kMaxNameBytes = 65535;
constexpr uint64_t kMaxTextBytes = uint64_t{256} << 20;  // of all texts
constexpr int kMaxDepth = 4;                             // of arrays in arrays
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

uint64_t padded(uint64_t size, uint64_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

}  // namespace

// Walks through the head of a file.
class GgufPart::Cursor {
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

Json GgufPart::Cursor::value(GgufValue type, int depth) {
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

Json GgufPart::Cursor::array(int depth) {
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

GgufPart::GgufPart(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  Cursor cursor(file_.bytes(), name);
  cursor.at("header");
  const auto magic = cursor.number<std::array<char, 4>>();
  if (std::string_view(magic.data(), 4) != kGgufMagic)
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

uint64_t GgufPart::alignment() const {
  const JsonFields fields(metadata_, path().string());
  const int64_t alignment = fields.integer("general.alignment", kGgufAlignment);
  // As in ggml: any power of two that 32 bits hold.
  if (alignment < 1 || alignment > int64_t{1} << 31 ||
      !std::has_single_bit(static_cast<uint64_t>(alignment)))
    fields.fail("general.alignment", "a power of two below 2^32");
  return static_cast<uint64_t>(alignment);
}

void GgufPart::read_tensors(Cursor& cursor, uint64_t count) {
  const uint64_t alignment = this->alignment();
  uint64_t end = 0;  // of the tensor before, padded; offsets count from the first tensor
  for (uint64_t i = 0; i < count; ++i) {
    cursor.at(fmt::format("tensor {} of {}", i + 1, count));
    GgufTensor tensor;
    tensor.name = cursor.text(kMaxNameBytes);
    cursor.at(fmt::format("tensor '{}'", tensor.name));
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
    tensor.type = static_cast<GgufType>(cursor.number<uint32_t>());
    if (!is_readable(tensor.type))
      cursor.fail(fmt::format(
          "type: expected F32, F16, BF16, Q4_0 to Q8_1, Q2_K to Q6_K, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0 "
          "or MXFP4 (others are not implemented), found {}",
          to_string(tensor.type)));
    if (tensor.cols % block_values(tensor.type) != 0)
      cursor.fail(fmt::format("shape: expected rows of a multiple of {} values for {}, found {}",
                              block_values(tensor.type), to_string(tensor.type), tensor.cols));
    tensor.bytes = static_cast<uint64_t>(tensor.rows) * row_bytes(tensor.type, tensor.cols);
    tensor.begin = cursor.number<uint64_t>();
    if (tensor.begin != end)
      cursor.fail(fmt::format("offset: expected {}, where the tensor before ends, found {}", end,
                              tensor.begin));
    end += padded(tensor.bytes, alignment);
    tensors_.push_back(std::move(tensor));
  }
  const uint64_t data = padded(cursor.offset(), alignment);
  for (GgufTensor& tensor : tensors_) {
    tensor.begin += data;
    if (tensor.begin > file_.bytes().size() || tensor.bytes > file_.bytes().size() - tensor.begin)
      throw Error(fmt::format(
          "{}: tensor '{}': the file is cut short: expected {} bytes at offset {}, found a file of "
          "{}",
          path().string(), tensor.name, tensor.bytes, tensor.begin, file_.bytes().size()));
  }
}

}  // namespace watersic
