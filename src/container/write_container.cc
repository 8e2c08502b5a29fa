#include "container/write_container.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <nlohmann/json.hpp>

#include "watersic/error.h"

namespace watersic {
namespace {

static_assert(std::endian::native == std::endian::little, "raw tensors are written as they lie");

constexpr int kCompression = 19;  // a text is compressed once and read often

// LEB128: seven bits a byte, lowest first, the eighth says that more follow.
void append_varint(std::vector<std::byte>& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>((value & 0x7F) | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

// Names in order share much: "model.layers.0.self_attn.q_proj.weight", "...k_proj.weight".
std::vector<std::byte> make_entry(const Section& s, std::string_view last_name) {
  std::vector<std::byte> entry;
  const auto shared =
      static_cast<size_t>(std::ranges::mismatch(s.name, last_name).in1 - s.name.begin());
  append_number(entry, static_cast<uint64_t>(s.kind) | s.shape.size() << 4, 1);
  append_number(entry, shared, 1);
  append_number(entry, s.name.size() - shared, 1);
  const auto suffix = std::as_bytes(std::span(s.name)).subspan(shared);
  entry.insert(entry.end(), suffix.begin(), suffix.end());
  if (s.kind == SectionKind::kText) append_varint(entry, s.text_bytes);
  for (const int64_t d : s.shape) append_varint(entry, static_cast<uint64_t>(d));
  append_varint(entry, s.length);
  append_number(entry, s.checksum, 8);
  return entry;
}

}  // namespace

ContainerWriter::ContainerWriter(const std::filesystem::path& path)
    : path_(path.string()), file_(path) {
  const std::vector<std::byte> nothing(kHeaderBytes);  // filled in by finish()
  file_.write(nothing);
}

uint64_t ContainerWriter::append(Section section, std::span<const std::byte> bytes) {
  assert(!finished_);
  if (section.name.empty() || section.name.size() > kMaxNameBytes)
    throw Error(fmt::format("{}: expected a section name of 1 to {} bytes, found {}", path_,
                            kMaxNameBytes, section.name.size()));
  if (std::ranges::find(sections_, section.name, &Section::name) != sections_.end())
    throw Error(fmt::format("{}: {}: there are two sections of this name", path_, section.name));
  if (sections_.size() == kMaxSections)
    throw Error(fmt::format("{}: expected at most {} sections", path_, kMaxSections));
  section.offset = file_.size();
  section.length = bytes.size();
  section.checksum = hash64(bytes);
  const auto entry = make_entry(section, sections_.empty() ? "" : sections_.back().name);
  section.entry_bytes = entry.size();
  table_.insert(table_.end(), entry.begin(), entry.end());
  file_.write(bytes);
  const std::vector<std::byte> padding(section.padded_length() - section.length);
  file_.write(padding);
  sections_.push_back(std::move(section));
  return sections_.back().file_bytes();
}

uint64_t ContainerWriter::append_text(const std::string& name, std::string_view text) {
  if (text.size() > kMaxTextBytes)
    throw Error(fmt::format("{}: {}: expected at most {} bytes of text, found {}", path_, name,
                            kMaxTextBytes, text.size()));
  std::vector<std::byte> packed(ZSTD_compressBound(text.size()));
  const size_t size =
      ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), kCompression);
  if (ZSTD_isError(size) != 0)
    throw Error(
        fmt::format("{}: {}: cannot be compressed: {}", path_, name, ZSTD_getErrorName(size)));
  Section section;
  section.name = name;
  section.kind = SectionKind::kText;
  section.text_bytes = text.size();
  return append(std::move(section), std::span(packed).first(size));
}

uint64_t ContainerWriter::add_text(const std::string& name, std::string_view text) {
  if (name == kManifestName)
    throw Error(fmt::format("{}: {}: the name is the container's own", path_, name));
  const uint64_t bytes = append_text(name, text);
  if (name == "config.json") config_ = text;
  return bytes;
}

uint64_t ContainerWriter::add_raw(const std::string& name, SectionKind kind,
                                  const std::vector<int64_t>& shape,
                                  std::span<const uint16_t> values) {
  assert(kind == SectionKind::kBf16 || kind == SectionKind::kF16);
  assert(shape.size() == 1 || shape.size() == 2);
  assert(static_cast<int64_t>(values.size()) == shape[0] * (shape.size() == 2 ? shape[1] : 1));
  Section section;
  section.name = name;
  section.kind = kind;
  section.shape = shape;
  return append(std::move(section), std::as_bytes(values));
}

uint64_t ContainerWriter::add_quantized(const std::string& name, int64_t rows, int64_t cols,
                                        std::span<const std::byte> blob) {
  Section section;
  section.name = name;
  section.kind = SectionKind::kQuantized;
  section.shape = {rows, cols};
  return append(std::move(section), blob);
}

ContainerWriter::Summary ContainerWriter::finish(const std::string& producer, const Json& options) {
  assert(options.is_object());
  Summary summary;
  summary.model_id = model_id(sections_, config_);
  const Json manifest = {{"schema", "watersic.manifest/1"},
                         {"format_version", kFormatVersion},
                         {"model_id", summary.model_id},
                         {"producer", producer},
                         {"options", options}};
  append_text(std::string(kManifestName), manifest.dump(2) + "\n");
  finished_ = true;

  std::vector<std::byte> header;
  header.reserve(kHeaderBytes);
  for (const unsigned char c : kMagic) header.push_back(static_cast<std::byte>(c));
  append_number(header, kFormatVersion, 4);
  append_number(header, 0, 4);  // flags
  append_number(header, file_.size(), 8);
  append_number(header, table_.size(), 8);
  append_number(header, sections_.size(), 4);
  header.resize(kHeaderBytes - sizeof(Hash128));
  const std::span<const std::byte> pieces[] = {header, table_};
  const Hash128 hash = hash128(pieces);
  header.insert(header.end(), hash.begin(), hash.end());
  file_.write(table_);
  file_.write_at(0, header);
  summary.file_bytes = file_.size();
  summary.sections = std::move(sections_);
  file_.commit();
  return summary;
}

}  // namespace watersic
