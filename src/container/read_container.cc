#include "container/read_container.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "coding/common_bitshift.h"
#include "io/text.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// Reads the table of contents; running out is for the caller to report.
class TableReader {
 public:
  explicit TableReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool failed() const { return failed_; }
  size_t position() const { return next_; }

  uint64_t number(int bytes) {
    const auto part = take(static_cast<size_t>(bytes));
    return failed_ ? 0 : read_number(part, bytes);
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 63; shift += 7) {
      const uint64_t b = number(1);
      value |= (b & 0x7F) << shift;
      // A last byte of zero would be a second way to write the same number.
      if (b < 0x80 && (b != 0 || shift == 0)) return value;
      if (b == 0) break;
    }
    failed_ = true;
    return 0;
  }
  std::string_view text(size_t size) {
    const auto part = take(size);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

 private:
  std::span<const std::byte> take(size_t size) {
    if (size > bytes_.size() - next_) failed_ = true;
    if (failed_) return {};
    next_ += size;
    return bytes_.subspan(next_ - size, size);
  }

  std::span<const std::byte> bytes_;
  size_t next_ = 0;
  bool failed_ = false;
};

bool all_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

void ContainerReader::fail(const std::string& what) const {
  throw Error(fmt::format("{}: {}", file_.path().string(), what));
}

ContainerReader::ContainerReader(const std::filesystem::path& path) : file_(path) {
  const auto all = file_.bytes();
  const auto is_magic = [](std::byte b, unsigned char c) { return b == static_cast<std::byte>(c); };
  if (all.size() < kMagic.size() ||
      !std::equal(kMagic.begin(), kMagic.end(), all.begin(),
                  [&](unsigned char c, std::byte b) { return is_magic(b, c); }))
    fail("is not a .wsic file");
  if (all.size() < kHeaderBytes)
    fail(fmt::format("is cut short: expected a header of {} bytes, found {}", kHeaderBytes,
                     all.size()));
  const auto field = [&](size_t offset, int bytes) {
    return read_number(all.subspan(offset), bytes);
  };
  const uint64_t version = field(8, 4), flags = field(12, 4), table_offset = field(16, 8),
                 table_bytes = field(24, 8), count = field(32, 4);
  if (version == 0 || version > kFormatVersion)
    fail(fmt::format("expected format version {} or older, found {}: a newer program wrote it",
                     kFormatVersion, version));
  if (flags != 0) fail(fmt::format("expected no flags, found {:#x}", flags));
  if (table_offset < kHeaderBytes || table_offset > all.size() ||
      table_bytes > all.size() - table_offset)
    fail(fmt::format("is cut short: expected {} bytes and {} of a table of contents, found {}",
                     table_offset, table_bytes, all.size()));
  if (table_bytes != all.size() - table_offset)
    fail(fmt::format("expected {} bytes, found {}", table_offset + table_bytes, all.size()));
  const auto table = all.subspan(table_offset);
  const size_t hashed = kHeaderBytes - sizeof(Hash128);
  const std::span<const std::byte> pieces[] = {all.first(hashed), table};
  if (!std::ranges::equal(hash128(pieces), all.subspan(hashed, sizeof(Hash128))))
    fail("is damaged: the checksum of its table of contents is wrong");
  if (!all_zero(all.subspan(36, hashed - 36))) fail("is damaged: reserved bytes are not zero");
  if (count > kMaxSections)
    fail(fmt::format("expected at most {} sections, found {}", kMaxSections, count));
  read_table(table, table_offset, count);
  checked_ = std::make_unique<std::atomic<bool>[]>(sections_.size());
}

// The checksum says that these are the writer's bytes, not that the writer was right.
void ContainerReader::read_table(std::span<const std::byte> table, uint64_t table_offset,
                                 uint64_t count) {
  TableReader in(table);
  uint64_t next = kHeaderBytes;
  std::string last;
  for (uint64_t i = 0; i < count; ++i) {
    Section s;
    const size_t begin = in.position();
    const uint64_t kind = in.number(1);
    const uint64_t shared = in.number(1), suffix = in.number(1);
    if (shared > last.size()) fail("a name in the table of contents begins with no other");
    s.name = last.substr(0, shared);
    s.name += in.text(suffix);
    s.kind = static_cast<SectionKind>(kind & 15);
    if (s.kind > SectionKind::kQuantized)
      fail(fmt::format("{}: unknown kind of section {}", s.name, kind & 15));
    const uint64_t dimensions = kind >> 4;
    const bool fits = s.kind == SectionKind::kText        ? dimensions == 0
                      : s.kind == SectionKind::kQuantized ? dimensions == 2
                                                          : dimensions == 1 || dimensions == 2;
    if (!fits) fail(fmt::format("{}: a {} of {} dimensions", s.name, name_of(s.kind), dimensions));
    if (s.kind == SectionKind::kText) s.text_bytes = in.varint();
    uint64_t elements = 1;
    for (uint64_t d = 0; d < dimensions; ++d) {
      const uint64_t size = in.varint();
      if (size > INT64_MAX / 2 / std::max<uint64_t>(elements, 1))
        fail(fmt::format("{}: its shape is too large", s.name));
      elements *= size;
      s.shape.push_back(static_cast<int64_t>(size));
    }
    s.length = in.varint();
    s.checksum = in.number(8);
    if (in.failed()) fail("its table of contents is cut short");
    s.entry_bytes = in.position() - begin;
    s.offset = next;
    if (s.length > table_offset - next || s.padded_length() > table_offset - next)
      fail(fmt::format("{}: expected {} bytes at {}, found the table of contents at {}", s.name,
                       s.length, next, table_offset));
    next += s.padded_length();
    if ((s.kind == SectionKind::kBf16 || s.kind == SectionKind::kF16) && s.length != 2 * elements)
      fail(fmt::format("{}: expected {} bytes for its shape, found {}", s.name, 2 * elements,
                       s.length));
    // zstd spends at least three bytes on a block of 128 KiB.
    if (s.text_bytes > kMaxTextBytes || s.text_bytes >> 17 > s.length / 3)
      fail(fmt::format("{}: {} bytes of text are too many", s.name, s.text_bytes));
    if (s.name.empty() || !index_.emplace(s.name, sections_.size()).second)
      fail(fmt::format("{}: there are two sections of this name", s.name));
    last = s.name;
    sections_.push_back(std::move(s));
  }
  if (in.position() != table.size()) fail("its table of contents has bytes left over");
  if (next != table_offset)
    fail(fmt::format("expected the table of contents at {}, found it at {}", next, table_offset));
}

const Section& ContainerReader::section(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) fail(fmt::format("{}: there is no such section", name));
  return sections_[found->second];
}

const Section& ContainerReader::section(const std::string& name, SectionKind kind) const {
  const Section& s = section(name);
  if (s.kind != kind)
    fail(fmt::format("{}: expected a {} section, found {}", name, name_of(kind), name_of(s.kind)));
  return s;
}

std::span<const std::byte> ContainerReader::bytes(const Section& s) const {
  const auto bytes = file_.bytes().subspan(s.offset, s.length);
  std::atomic<bool>& checked = checked_[static_cast<size_t>(&s - sections_.data())];
  if (!checked.load(std::memory_order_relaxed)) {  // two threads may both check: no harm
    if (hash64(bytes) != s.checksum)
      fail(fmt::format("{}: is damaged: its checksum is wrong", s.name));
    checked.store(true, std::memory_order_relaxed);
  }
  return bytes;
}

bool ContainerReader::is_runnable(const Section& s) const {
  return s.kind == SectionKind::kQuantized && s.length > 0 &&
         file_.bytes()[s.offset] == std::byte{kBitshiftTensorVersion};
}

std::string ContainerReader::text(const std::string& name) const {
  const Section& s = section(name, SectionKind::kText);
  const auto packed = bytes(s);
  std::string text(s.text_bytes, '\0');
  const size_t size = ZSTD_decompress(text.data(), text.size(), packed.data(), packed.size());
  if (ZSTD_isError(size) != 0)
    fail(fmt::format("{}: cannot be decompressed: {}", name, ZSTD_getErrorName(size)));
  if (size != text.size())
    fail(fmt::format("{}: expected {} bytes of text, found {}", name, text.size(), size));
  if (const size_t bad = find_invalid_utf8(text); bad != std::string::npos)
    fail(fmt::format("{}: expected UTF-8, found a wrong byte at offset {}", name, bad));
  return text;
}

std::span<const uint16_t> ContainerReader::raw(const std::string& name) const {
  const Section& s = section(name);
  if (s.kind != SectionKind::kBf16 && s.kind != SectionKind::kF16)
    fail(fmt::format("{}: expected a bf16 or f16 section, found {}", name, name_of(s.kind)));
  const auto b = bytes(s);
  return {reinterpret_cast<const uint16_t*>(b.data()), b.size() / 2};  // aligned: kAlignment
}

TensorDecoder ContainerReader::decoder(const std::string& name) const {
  const Section& s = section(name, SectionKind::kQuantized);
  TensorDecoder decoder(bytes(s), fmt::format("{}: {}", path().string(), name));
  const QuantizedTensor& q = decoder.tensor();
  if (q.rows != s.rows() || q.cols != s.cols())
    fail(fmt::format("{}: expected {} x {} as in the table of contents, found {} x {}", name,
                     s.rows(), s.cols(), q.rows, q.cols));
  return decoder;
}

QuantizedTensor ContainerReader::quantized(const std::string& name, ThreadPool& pool) const {
  return decode_tensor(decoder(name), pool);
}

Json ContainerReader::manifest() const {
  const std::string name(kManifestName);
  return parse_json(text(name), fmt::format("{}: {}", path().string(), name));
}

void ContainerReader::verify(ThreadPool& pool) const {
  pool.parallel_for(static_cast<int64_t>(sections_.size()), [&](int64_t i) {
    const Section& s = sections_[static_cast<size_t>(i)];
    bytes(s);
    if (!all_zero(file_.bytes().subspan(s.offset + s.length, s.padded_length() - s.length)))
      fail(fmt::format("{}: is damaged: its padding is not zero", s.name));
    if (s.kind == SectionKind::kText) text(s.name);
  });
  for (const Section& s : sections_)
    if (s.kind == SectionKind::kQuantized) check_tensor(decoder(s.name), pool);  // parallel inside
  checked_model_id();
}

std::string ContainerReader::checked_model_id() const {
  const Json json = manifest();
  const JsonFields fields(json, path().string() + ": manifest.json");
  std::string id = model_id(sections_, has("config.json") ? text("config.json") : "");
  if (fields.text("model_id") != id) fields.fail("model_id", "\"" + id + "\"");
  return id;
}

}  // namespace watersic
