#include "io/gguf.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "io/float_values.h"
#include "io/gguf_blocks.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

// What a part says of the whole; a count of 0 or 1 is a file that is not split.
struct Split {
  int64_t number = 0;  // from 0
  int64_t count = 0;
  int64_t tensors = -1;  // of all parts; -1: not said
};

Split split_of(const GgufPart& part) {
  const JsonFields keys(part.metadata(), part.path().string());
  Split out{.count = keys.integer("split.count", 0)};
  if (out.count < 0 || out.count > 65535) keys.fail("split.count", "a number of parts up to 65535");
  if (out.count < 2) return out;
  out.number = keys.integer("split.no");
  if (out.number < 0 || out.number >= out.count)
    keys.fail("split.no", fmt::format("a number below {}", out.count));
  out.tensors = keys.integer("split.tensors.count", -1);
  return out;
}

std::string suffix_of(int64_t number, int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

}  // namespace

bool GgufFile::is_gguf(const fs::path& path) {
  std::array<char, 4> magic{};
  std::ifstream in(path, std::ios::binary);
  return in.read(magic.data(), magic.size()) && std::string_view(magic.data(), 4) == kGgufMagic;
}

GgufFile::GgufFile(const fs::path& path) : path_(path) {
  GgufPart given(path);
  const Split split = split_of(given);
  if (split.count < 2) {
    add_part(std::move(given));
    return;
  }
  std::string name = path.filename().string();
  const std::string suffix = suffix_of(split.number, split.count);
  if (!name.ends_with(suffix))
    throw Error(fmt::format("{}: expected a name that ends in {}, as this is part {} of {}",
                            path.string(), suffix, split.number + 1, split.count));
  name.resize(name.size() - suffix.size());
  for (int64_t i = 0; i < split.count; ++i) {
    const fs::path other = path.parent_path() / (name + suffix_of(i, split.count));
    if (!fs::exists(other))
      throw Error(fmt::format("{}: expected this part of {} beside {}, found no such file",
                              other.string(), split.count, path.filename().string()));
    GgufPart part = i == split.number ? std::move(given) : GgufPart(other);
    const Split found = split_of(part);
    if (found.count != split.count || found.number != i)
      throw Error(fmt::format("{}: split.no, split.count: expected {} of {}, found {} of {}",
                              other.string(), i, split.count, found.number, found.count));
    add_part(std::move(part));
  }
  const int64_t expected = split_of(parts_.front()).tensors;
  if (expected >= 0 && expected != static_cast<int64_t>(tensors_.size()))
    throw Error(fmt::format("{}: split.tensors.count: expected {}, found {} tensors in {} parts",
                            parts_.front().path().string(), expected, tensors_.size(),
                            split.count));
}

void GgufFile::add_part(GgufPart part) {
  const size_t number = parts_.size();
  for (const GgufTensor& tensor : part.tensors()) {
    const auto [found, is_new] = index_.emplace(tensor.name, tensors_.size());
    if (!is_new)
      throw Error(
          fmt::format("{}: tensor '{}': expected each tensor once, found it in {} as well",
                      part.path().string(), tensor.name,
                      tensors_[found->second].part == number
                          ? "another place"
                          : parts_[tensors_[found->second].part].path().filename().string()));
    tensors_.push_back({tensor, number});
  }
  parts_.push_back(std::move(part));
}

std::vector<fs::path> GgufFile::paths() const {
  std::vector<fs::path> paths;
  for (const GgufPart& part : parts_) paths.push_back(part.path());
  return paths;
}

const GgufFile::Tensor* GgufFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::string GgufFile::name_of(const Tensor& tensor) const {
  return fmt::format("{}: tensor '{}'", parts_[tensor.part].path().string(), tensor.name);
}

void GgufFile::convert_row(const Tensor& tensor, int64_t row, std::span<float> values) const {
  const uint64_t size = row_bytes(tensor.type, tensor.cols);
  const auto stored = bytes(tensor).subspan(static_cast<uint64_t>(row) * size, size);
  switch (tensor.type) {
    case GgufType::kF32:
      convert_values<float>(stored.data(), values, [](float x) { return x; });
      break;
    case GgufType::kF16:
      convert_values<uint16_t>(stored.data(), values, float_from_half);
      break;
    case GgufType::kBF16:
      convert_values<uint16_t>(stored.data(), values, float_from_bf16);
      break;
    default:
      dequantize(tensor.type, stored, values);
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
  parts_[tensor.part].release(tensor);
  return values;
}

}  // namespace watersic
