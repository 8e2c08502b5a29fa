// Writing a GGUF file (io/gguf_part.h), version 3, in one pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/atomic_file.h"
#include "io/gguf_part.h"

namespace watersic {

// Keys and their values, in the order in which they are added; each key once.
class GgufMetadata {
 public:
  void add_number(std::string_view key, uint32_t value);
  void add_real(std::string_view key, float value);
  void add_flag(std::string_view key, bool value);
  void add_text(std::string_view key, std::string_view value);
  void add_numbers(std::string_view key, std::span<const int32_t> values);
  void add_reals(std::string_view key, std::span<const float> values);
  void add_texts(std::string_view key, std::span<const std::string> values);

  uint64_t count() const { return count_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, GgufValue type);
  void begin_array(std::string_view key, GgufValue type, size_t size);

  std::vector<std::byte> bytes_;
  uint64_t count_ = 0;
};

struct GgufTensorSpec {
  std::string name;
  GgufType type = GgufType::kF32;
  int64_t rows = 1, cols = 1;
  bool is_vector = false;
};

// Writes tensors one after the other, in the order given at first, without holding them. The file
// appears with commit(). All throw Error where the file can't be written.
class GgufWriter {
 public:
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
             std::vector<GgufTensorSpec> tensors);

  // The next rows of the current tensor, whole, rounded to nearest in its type (not for quantized
  // types but Q8_0); a tensor that is full gives way to the next.
  void write(std::span<const float> rows);
  // The same of rows as the file holds them, in any type.
  void write_stored(std::span<const std::byte> rows);
  // All tensors must have been written whole.
  void commit();

 private:
  std::vector<GgufTensorSpec> tensors_;
  size_t current_ = 0;
  uint64_t left_ = 0;  // bytes of the current tensor that are still to come
  AtomicFile file_;
};

// Appends blocks of Q8_0; the size of `values` is a multiple of 32. The scale is the largest
// magnitude / 127 rounded to a half, and the integers are those nearest to the values *by the
// rounded scale*. A magnitude beyond kQ8Max has no scale that is finite.
inline constexpr float kQ8Max = 127 * 65504.0F;
void append_q8(std::vector<std::byte>& out, std::span<const float> values);

}  // namespace watersic
