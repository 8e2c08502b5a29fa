#include "watersic/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <string>

#include "io/atomic_file.h"
#include "io/mapped_file.h"
#include "watersic/error.h"

namespace watersic {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr std::string_view kNpyMagic("\x93NUMPY", 6);

struct Header {
  bool is_double = false;
  int64_t rows = 0, cols = 0;
  size_t data_offset = 0;
};

// Of the header, a Python dictionary: what stands after one of its keys. Not std::regex, which
// needs a stack as deep as its text is long.
class Scanner {
 public:
  Scanner(std::string_view text, std::string_view key) {
    const size_t at = text.find(fmt::format("'{}':", key));
    if (at != std::string_view::npos) rest_ = text.substr(at + key.size() + 3);
  }
  // Each skips spaces, and takes nothing where what is wanted does not follow.
  bool take(std::string_view word) {
    skip_spaces();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  // At most ten digits.
  bool take_number(int64_t& value) {
    skip_spaces();
    const size_t digits = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    if (digits == 0 || digits > 10) return false;
    std::from_chars(rest_.data(), rest_.data() + digits, value);
    rest_.remove_prefix(digits);
    return true;
  }
  std::string_view until(char end) const { return rest_.substr(0, rest_.find(end)); }

 private:
  void skip_spaces() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\n"), rest_.size()));
  }
  std::string_view rest_;
};

Header parse_header(std::string_view file, const std::string& name) {
  if (file.size() < 10 || file.substr(0, 6) != kNpyMagic)
    throw Error(name + ": is not a .npy file");
  const int major = static_cast<unsigned char>(file[6]);
  if (major < 1 || major > 3)
    throw Error(fmt::format("{}: expected .npy version 1 to 3, found {}", name, major));
  const size_t length_bytes = major == 1 ? 2 : 4;
  size_t length = 0;
  if (file.size() < 8 + length_bytes) throw Error(name + ": ends inside its header");
  std::memcpy(&length, file.data() + 8, length_bytes);
  Header header;
  header.data_offset = 8 + length_bytes + length;
  if (length > 65536 || header.data_offset > file.size())
    throw Error(name + ": ends inside its header");

  const std::string_view text = file.substr(8 + length_bytes, length);
  Scanner descr(text, "descr"), order(text, "fortran_order"), shape(text, "shape");
  if (!descr.take("'")) throw Error(name + ": header has no descr");
  const std::string_view type = descr.until('\'');
  if (type != "<f4" && type != "<f8") {
    throw Error(fmt::format("{}: descr: expected '<f4' or '<f8' (little-endian float), found '{}'",
                            name, type.substr(0, 40)));
  }
  header.is_double = type == "<f8";
  if (!order.take("False")) throw Error(name + ": fortran_order: expected False (C order)");
  bool two = shape.take("(") && shape.take_number(header.rows) && shape.take(",") &&
             shape.take_number(header.cols);
  if (two) {
    shape.take(",");
    two = shape.take(")");
  }
  if (!two) throw Error(name + ": shape: expected two dimensions");
  const size_t item = header.is_double ? 8 : 4;
  const size_t available = (file.size() - header.data_offset) / item;
  // 10^10 x 10^10 wraps; divide instead of multiplying. (And 10^10 rows of nothing would take their
  // time.)
  const auto rows = static_cast<size_t>(header.rows), cols = static_cast<size_t>(header.cols);
  if (rows == 0 || cols == 0)
    throw Error(fmt::format("{}: shape: expected no 0, found {} x {}", name, rows, cols));
  if (rows > available / cols) {
    throw Error(fmt::format("{}: expected {} x {} values, found {}", name, rows, cols, available));
  }
  return header;
}

template <class From, class T>
void convert(const char* data, Matrix<T>& matrix) {
  for (size_t i = 0; i < matrix.values().size(); ++i) {
    From value;
    std::memcpy(&value, data + i * sizeof(From), sizeof(From));
    matrix.values()[i] = static_cast<T>(value);
  }
}

}  // namespace

template <class T>
Matrix<T> read_npy(const std::filesystem::path& path) {
  const MappedFile mapped(path);
  const std::string_view file(reinterpret_cast<const char*>(mapped.bytes().data()),
                              mapped.bytes().size());
  const Header header = parse_header(file, path.string());
  Matrix<T> matrix(header.rows, header.cols);
  if (header.is_double) {
    convert<double>(file.data() + header.data_offset, matrix);
  } else {
    convert<float>(file.data() + header.data_offset, matrix);
  }
  for (int64_t i = 0; i < matrix.rows(); ++i) {
    for (int64_t j = 0; j < matrix.cols(); ++j) {
      if (!std::isfinite(matrix(i, j))) {
        throw Error(fmt::format("{}: expected finite values, found {} at row {}, column {}",
                                path.string(), matrix(i, j), i, j));
      }
    }
  }
  return matrix;
}

template <class T>
void write_npy(const std::filesystem::path& path, MatrixView<const T> matrix) {
  std::string header =
      fmt::format("{{'descr': '<f{}', 'fortran_order': False, 'shape': ({}, {}), }}", sizeof(T),
                  matrix.rows(), matrix.cols());
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1,
                ' ');  // the data starts at a multiple of 64
  header += '\n';
  AtomicFile file(path);
  file.write(kNpyMagic);
  file.write(std::string_view("\x01\x00", 2));
  const auto length = static_cast<uint16_t>(header.size());
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (int64_t i = 0; i < matrix.rows(); ++i) file.write(std::as_bytes(matrix.row(i)));
  file.commit();
}

template Matrix<float> read_npy(const std::filesystem::path&);
template Matrix<double> read_npy(const std::filesystem::path&);
template void write_npy(const std::filesystem::path&, MatrixView<const float>);
template void write_npy(const std::filesystem::path&, MatrixView<const double>);

}  // namespace watersic
