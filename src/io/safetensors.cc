#include "io/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "io/float_values.h"
#include "io/json.h"
#include "watersic/error.h"

namespace watersic {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;       // as in the reference implementation
constexpr int64_t kMaxTensorValues = int64_t{1} << 56;  // of a tensor that is written

// Bits of one value; 0 for a dtype that the format does not know.
int64_t bits_of(std::string_view dtype) {
  struct Width {
    std::string_view dtype;
    int64_t bits;
  };
  static constexpr Width kWidths[] = {
      {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"F64", 64},    {"I64", 64},
      {"I32", 32},    {"I16", 16},    {"I8", 8},      {"U64", 64},    {"U32", 32},
      {"U16", 16},    {"U8", 8},      {"BOOL", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8},
      {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},      {"C64", 64}};
  for (const auto& width : kWidths)
    if (width.dtype == dtype) return width.bits;
  return 0;
}

bool is_readable(std::string_view dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16";
}

// A size or an offset; -1 where it is none.
int64_t size_or_none(const Json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX) return -1;
  return value.get<int64_t>();
}

// The product of the shape, or -1 where it is above `limit`.
int64_t count_values(std::span<const int64_t> shape, int64_t limit) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size > limit / count) return -1;
    count *= size;
  }
  return count <= limit ? count : -1;
}

// `where` is what errors call the tensor; `available` the bytes of all tensors together.
SafetensorsFile::Entry parse_entry(const std::string& name, const Json& json,
                                   const std::string& where, int64_t available) {
  SafetensorsFile::Entry entry;
  entry.name = name;
  const JsonFields fields(json, where);
  entry.dtype = fields.text("dtype");
  const int64_t bits = bits_of(entry.dtype);
  if (bits == 0) fields.fail("dtype", "a dtype of the format");
  for (const Json& size : fields.array("shape")) {
    if (size_or_none(size) < 0) fields.fail("shape", "sizes of at least 0");
    entry.shape.push_back(size.get<int64_t>());
  }
  const Json& offsets = fields.array("data_offsets");
  const int64_t begin = offsets.size() == 2 ? size_or_none(offsets[0]) : -1;
  const int64_t end = offsets.size() == 2 ? size_or_none(offsets[1]) : -1;
  if (begin < 0 || end < begin) fields.fail("data_offsets", "[begin, end]");
  if (end > available) {
    fields.fail("data_offsets", fmt::format("an end of at most {}, the file's", available));
  }
  // The file's size bounds the product, so that it cannot wrap. (Some dtypes have less than 8
  // bits.)
  const int64_t count = count_values(entry.shape, available * 8 / bits);
  if (count < 0 || count * bits != (end - begin) * 8) {
    throw Error(fmt::format("{}: expected the bytes of shape [{}] in {}, found {}", where,
                            fmt::join(entry.shape, ", "), entry.dtype, end - begin));
  }
  entry.begin = static_cast<uint64_t>(begin);
  entry.end = static_cast<uint64_t>(end);
  return entry;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  const auto bytes = file_.bytes();
  if (bytes.size() < kLengthBytes) {
    throw Error(fmt::format("{}: is not a safetensors file: expected at least {} bytes, found {}",
                            name, kLengthBytes, bytes.size()));
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  const uint64_t limit = std::min<uint64_t>(kMaxHeaderBytes, bytes.size() - kLengthBytes);
  if (length > limit) {
    throw Error(fmt::format(
        "{}: is not a safetensors file, or is cut short: expected a header of at most {} bytes, "
        "found a length of {}",
        name, limit, length));
  }
  data_ = bytes.subspan(kLengthBytes + length);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  if (!text.starts_with('{')) {
    throw Error(name + ": is not a safetensors file: its header is not a JSON object");
  }
  const Json header = parse_json(text, name + ": header");
  for (const auto& [tensor, json] : header.items()) {
    if (tensor == "__metadata__") {
      const JsonFields fields(json, name + ": __metadata__");
      for (const auto& [key, value] : json.items()) metadata_[key] = fields.text(key);
    } else {
      entries_.push_back(parse_entry(tensor, json, fmt::format("{}: tensor '{}'", name, tensor),
                                     static_cast<int64_t>(data_.size())));
    }
  }

  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t end = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].begin != end) {
      throw Error(fmt::format(
          "{}: data_offsets: expected to begin at {}, where the tensor before ends, found {}",
          name_of(entries_[i]), end, entries_[i].begin));
    }
    end = entries_[i].end;
    index_[entries_[i].name] = i;
  }
  if (end != data_.size()) {
    throw Error(fmt::format("{}: expected {} bytes of tensors, found {}", name, end, data_.size()));
  }
}

std::string SafetensorsFile::name_of(const TensorSpec& tensor) const {
  return fmt::format("{}: tensor '{}'", file_.path().string(), tensor.name);
}

const SafetensorsFile::Entry* SafetensorsFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const Entry& entry) const {
  return data_.subspan(entry.begin, entry.end - entry.begin);
}

std::pair<int64_t, int64_t> SafetensorsFile::matrix_shape(const Entry& entry) const {
  switch (entry.shape.size()) {
    case 0:
      return {1, 1};
    case 1:
      return {1, entry.shape[0]};
    case 2:
      return {entry.shape[0], entry.shape[1]};
    default:
      throw Error(fmt::format("{}: shape: expected at most two dimensions, found [{}]",
                              name_of(entry), fmt::join(entry.shape, ", ")));
  }
}

void SafetensorsFile::check_readable(const Entry& entry) const {
  if (!is_readable(entry.dtype)) {
    throw Error(
        fmt::format("{}: dtype: expected F32, F16 or BF16, found {}", name_of(entry), entry.dtype));
  }
}

void SafetensorsFile::convert_row(const Entry& entry, int64_t row, std::span<float> values) const {
  const std::byte* from = bytes(entry).data() + static_cast<uint64_t>(row) * values.size() *
                                                    static_cast<uint64_t>(bits_of(entry.dtype) / 8);
  if (entry.dtype == "BF16") {
    convert_values<uint16_t>(from, values, float_from_bf16);
  } else if (entry.dtype == "F16") {
    convert_values<uint16_t>(from, values, float_from_half);
  } else {
    convert_values<float>(from, values, [](float x) { return x; });
  }
  if (all_finite(values)) return;
  for (size_t j = 0; j < values.size(); ++j) {
    if (!std::isfinite(values[j])) {
      throw Error(fmt::format("{}: expected finite values, found {} at row {}, column {}",
                              name_of(entry), values[j], row, j));
    }
  }
}

Matrix<float> SafetensorsFile::read(const Entry& entry) const {
  check_readable(entry);
  const auto [count, cols] = matrix_shape(entry);
  Matrix<float> values(count, cols);
  for (int64_t i = 0; i < count; ++i) convert_row(entry, i, values.row(i));
  file_.release(bytes(entry));
  return values;
}

Matrix<float> SafetensorsFile::read_rows(const Entry& entry, std::span<const int32_t> rows) const {
  check_readable(entry);
  const auto [count, cols] = matrix_shape(entry);
  Matrix<float> values(static_cast<int64_t>(rows.size()), cols);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < 0 || rows[i] >= count) {
      throw Error(
          fmt::format("{}: expected a row below {}, found {}", name_of(entry), count, rows[i]));
    }
    convert_row(entry, rows[i], values.row(static_cast<int64_t>(i)));
  }
  return values;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<TensorSpec> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : tensors_(std::move(tensors)), file_(path) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t end = 0;
  for (const TensorSpec& tensor : tensors_) {
    const int64_t bits = bits_of(tensor.dtype),
                  count = count_values(tensor.shape, kMaxTensorValues);
    assert(bits > 0 && bits % 8 == 0 && count >= 0 && !header.contains(tensor.name));
    sizes_.push_back(static_cast<uint64_t>(count * (bits / 8)));
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {end, end + sizes_.back()}}};
    end += sizes_.back();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the tensors begin at a multiple of 8
  const uint64_t length = text.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(text);
  skip_full_tensors();
}

void SafetensorsWriter::skip_full_tensors() {
  while (current_ < tensors_.size() && written_ == sizes_[current_]) {
    ++current_;
    written_ = 0;
  }
}

void SafetensorsWriter::write_bytes(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  assert(current_ < tensors_.size() && bytes.size() <= sizes_[current_] - written_);
  file_.write(bytes);
  written_ += bytes.size();
  skip_full_tensors();
}

void SafetensorsWriter::write(std::span<const float> values) {
  if (values.empty()) return;
  assert(current_ < tensors_.size() && is_readable(tensors_[current_].dtype));
  const std::string& dtype = tensors_[current_].dtype;
  if (dtype == "F32") return write_bytes(std::as_bytes(values));
  std::vector<uint16_t> rounded(values.size());
  std::transform(values.begin(), values.end(), rounded.begin(),
                 dtype == "BF16" ? bf16_from_float : half_from_float);
  write_bytes(std::as_bytes(std::span(rounded)));
}

void SafetensorsWriter::commit() {
  assert(current_ == tensors_.size());
  file_.commit();
}

}  // namespace watersic
