#include "io/gguf_writer.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "base/half.h"

namespace watersic {
namespace {

template <class T>
void append(std::vector<std::byte>& out, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_text(std::vector<std::byte>& out, std::string_view text) {
  append(out, static_cast<uint64_t>(text.size()));
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void pad(AtomicFile& file) {
  const std::vector<std::byte> zeros((kGgufAlignment - file.size() % kGgufAlignment) %
                                     kGgufAlignment);
  file.write(zeros);
}

uint64_t bytes_of(const GgufTensorSpec& tensor) {
  return static_cast<uint64_t>(tensor.rows) * row_bytes(tensor.type, tensor.cols);
}

}  // namespace

void GgufMetadata::begin(std::string_view key, GgufValue type) {
  append_text(bytes_, key);
  append(bytes_, static_cast<uint32_t>(type));
  ++count_;
}

void GgufMetadata::begin_array(std::string_view key, GgufValue type, size_t size) {
  begin(key, GgufValue::kArray);
  append(bytes_, static_cast<uint32_t>(type));
  append(bytes_, static_cast<uint64_t>(size));
}

void GgufMetadata::add_number(std::string_view key, uint32_t value) {
  begin(key, GgufValue::kUint32);
  append(bytes_, value);
}

void GgufMetadata::add_real(std::string_view key, float value) {
  begin(key, GgufValue::kFloat32);
  append(bytes_, value);
}

void GgufMetadata::add_flag(std::string_view key, bool value) {
  begin(key, GgufValue::kBool);
  append(bytes_, static_cast<uint8_t>(value));
}

void GgufMetadata::add_text(std::string_view key, std::string_view value) {
  begin(key, GgufValue::kText);
  append_text(bytes_, value);
}

void GgufMetadata::add_numbers(std::string_view key, std::span<const int32_t> values) {
  begin_array(key, GgufValue::kInt32, values.size());
  for (const int32_t value : values) append(bytes_, value);
}

void GgufMetadata::add_reals(std::string_view key, std::span<const float> values) {
  begin_array(key, GgufValue::kFloat32, values.size());
  for (const float value : values) append(bytes_, value);
}

void GgufMetadata::add_texts(std::string_view key, std::span<const std::string> values) {
  begin_array(key, GgufValue::kText, values.size());
  for (const std::string& value : values) append_text(bytes_, value);
}

GgufWriter::GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
                       std::vector<GgufTensorSpec> tensors)
    : tensors_(std::move(tensors)), file_(path) {
  assert(!tensors_.empty());
  std::vector<std::byte> head;
  append(head, std::array{'G', 'G', 'U', 'F'});
  append(head, kGgufVersion);
  append(head, static_cast<uint64_t>(tensors_.size()));
  append(head, metadata.count());
  head.insert(head.end(), metadata.bytes().begin(), metadata.bytes().end());
  uint64_t offset = 0;  // from the first tensor
  for (const GgufTensorSpec& tensor : tensors_) {
    assert(tensor.cols % block_values(tensor.type) == 0);
    append_text(head, tensor.name);
    append(head, static_cast<uint32_t>(tensor.is_vector ? 1 : 2));
    append(head, static_cast<uint64_t>(tensor.cols));
    if (!tensor.is_vector) append(head, static_cast<uint64_t>(tensor.rows));
    append(head, static_cast<uint32_t>(tensor.type));
    append(head, offset);
    offset += (bytes_of(tensor) + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
  }
  file_.write(head);
  pad(file_);
  left_ = bytes_of(tensors_.front());
}

void GgufWriter::write(std::span<const float> rows) {
  assert(current_ < tensors_.size());
  const GgufTensorSpec& tensor = tensors_[current_];
  std::vector<std::byte> bytes;
  if (tensor.type == GgufType::kF32) {
    const auto raw = std::as_bytes(rows);
    bytes.assign(raw.begin(), raw.end());
  } else if (tensor.type == GgufType::kQ8_0) {
    append_q8(bytes, rows);
  } else {
    assert(!is_quantized(tensor.type));
    std::vector<uint16_t> rounded(rows.size());
    std::transform(rows.begin(), rows.end(), rounded.begin(),
                   tensor.type == GgufType::kBF16 ? bf16_from_float : half_from_float);
    const auto raw = std::as_bytes(std::span(rounded));
    bytes.assign(raw.begin(), raw.end());
  }
  write_stored(bytes);
}

void GgufWriter::write_stored(std::span<const std::byte> rows) {
  assert(rows.size() <= left_);
  file_.write(rows);
  left_ -= rows.size();
  if (left_ > 0) return;
  pad(file_);
  if (++current_ < tensors_.size()) left_ = bytes_of(tensors_[current_]);
}

void GgufWriter::commit() {
  assert(current_ == tensors_.size());
  file_.commit();
}

void append_q8(std::vector<std::byte>& out, std::span<const float> values) {
  const auto size = static_cast<size_t>(block_values(GgufType::kQ8_0));
  assert(values.size() % size == 0);
  for (; !values.empty(); values = values.subspan(size)) {
    const auto block = values.first(size);
    float largest = 0;
    for (const float x : block) largest = std::max(largest, std::abs(x));
    const uint16_t half = half_from_float(largest / 127);
    const float scale = float_from_half(half);
    append(out, half);
    for (const float x : block) {
      // A scale rounded down makes the largest a little more than 127 of it.
      const float q = scale > 0 ? std::round(x / scale) : 0;
      append(out, static_cast<int8_t>(std::clamp(q, -127.0F, 127.0F)));
    }
  }
}

}  // namespace watersic
