// The .wsic container as bytes: docs/format.md. Everything is little-endian.
//
//   header (64 bytes) | section, padding | section, padding | ... | table of contents
//
// Each section begins at a multiple of kAlignment, so that raw tensors can be used where they are
// mapped. The table stands last, so that a file is written in one pass; where a section begins
// follows from the lengths of those before, so that there is no offset that could lie.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace watersic {

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kHeaderBytes = 64;
inline constexpr uint64_t kAlignment = 32;
inline constexpr uint64_t kMaxTextBytes = uint64_t{256} << 20;
inline constexpr size_t kMaxNameBytes = 255;
inline constexpr size_t kMaxSections = size_t{1} << 20;
// As the first bytes of a PNG: the first is no text, and the line ends show a transfer that took
// the file for text.
inline constexpr std::array<unsigned char, 8> kMagic = {0x89, 'W', 'S', 'I', 'C', 0x0D, 0x0A, 0x1A};
// The section that a writer adds itself.
inline constexpr std::string_view kManifestName = "manifest.json";
// A coded matrix that is no tensor of the model: the axes of its residual stream.
inline constexpr const char* kBasisName = "basis";

enum class SectionKind : uint8_t {
  kText = 0,       // UTF-8, compressed by zstd
  kBf16 = 1,       // a tensor of bfloat16, row-major
  kF16 = 2,        // a tensor of IEEE half, row-major
  kQuantized = 3,  // a coded tensor
};
const char* name_of(SectionKind kind);

// What the table of contents tells about a section.
struct Section {
  std::string name;
  SectionKind kind = SectionKind::kText;
  std::vector<int64_t> shape;       // of a tensor: one or two dimensions
  uint64_t text_bytes = 0;          // of a text, uncompressed
  uint64_t offset = 0, length = 0;  // in the file
  uint64_t checksum = 0;            // XXH3-64 of those bytes
  uint64_t entry_bytes = 0;         // of its entry in the table

  bool is_tensor() const { return kind != SectionKind::kText; }
  int64_t rows() const { return shape.size() == 2 ? shape[0] : 1; }
  int64_t cols() const { return shape.empty() ? 0 : shape.back(); }
  // All that the section takes of the file: itself, its padding and its entry. The header, the
  // padding and these are all of the file.
  uint64_t file_bytes() const { return padded_length() + entry_bytes; }
  uint64_t padded_length() const { return (length + kAlignment - 1) / kAlignment * kAlignment; }
};

uint64_t hash64(std::span<const std::byte> bytes);

// XXH3-128 in its canonical form (big-endian), of pieces put together.
using Hash128 = std::array<std::byte, 16>;
Hash128 hash128(std::span<const std::span<const std::byte>> pieces);
std::string hex(const Hash128& hash);

// What identifies a model: the tensors' names, kinds, shapes and checksums, in the order of names,
// and the text of config.json. The same whatever the order of writing and zstd's version.
std::string model_id(const std::vector<Section>& sections, std::string_view config);

void append_number(std::vector<std::byte>& out, uint64_t value, int bytes);
uint64_t read_number(std::span<const std::byte> in, int bytes);

}  // namespace watersic
