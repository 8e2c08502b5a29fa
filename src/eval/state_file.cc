#include "eval/state_file.h"

#include <fmt/format.h>

#include <cassert>
#include <cstring>

#include "watersic/error.h"

namespace watersic {
namespace {

constexpr size_t kHeadBytes = 64;

}  // namespace

StateFile::StateFile(const std::filesystem::path& path, const std::string& identity, int64_t rows,
                     int64_t cols)
    : rows_(rows), cols_(cols) {
  const std::string head = fmt::format("{:<63}\n", "watersic.states/1 " + identity);
  assert(head.size() == kHeadBytes);
  if (!std::filesystem::exists(path)) {
    writer_ = std::make_unique<AtomicFile>(path);
    writer_->write(head);
    return;
  }
  mapped_ = std::make_unique<MappedFile>(path);
  const auto bytes = mapped_->bytes();
  if (bytes.size() < kHeadBytes || std::memcmp(bytes.data(), head.data(), kHeadBytes) != 0)
    throw Error(
        fmt::format("{}: holds the states of another model, or on another text", path.string()));
  const size_t expected = kHeadBytes + static_cast<size_t>(rows * cols) * sizeof(float);
  if (bytes.size() != expected) {
    throw Error(
        fmt::format("{}: expected {} bytes, found {}", path.string(), expected, bytes.size()));
  }
}

Matrix<float> StateFile::read(int64_t row, int64_t rows) const {
  assert(complete() && row >= 0 && row + rows <= rows_);
  Matrix<float> states(rows, cols_);
  const auto part =
      mapped_->bytes().subspan(kHeadBytes + static_cast<size_t>(row * cols_) * sizeof(float),
                               static_cast<size_t>(rows * cols_) * sizeof(float));
  std::memcpy(states.data(), part.data(), part.size());
  mapped_->release(part);
  return states;
}

void StateFile::append(MatrixView<const float> states) {
  assert(!complete() && states.cols() == cols_ && states.stride() == cols_);
  writer_->write(std::as_bytes(std::span(states.data(), static_cast<size_t>(states.size()))));
  appended_ += states.rows();
}

void StateFile::commit() {
  assert(appended_ == rows_);
  writer_->commit();
}

}  // namespace watersic
