// Reading a .wsic file: mapped, not loaded. Its table of contents is checked when it is opened, a
// section's bytes when they are first asked for.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/threads.h"
#include "coding/common_tensor.h"
#include "coding/dec_tensor.h"
#include "container/common_format.h"
#include "io/json.h"
#include "io/mapped_file.h"

namespace watersic {

// All throw Error, naming file and section, where the file is not what it should be. Const
// functions may be called from several threads.
class ContainerReader {
 public:
  explicit ContainerReader(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  uint64_t file_bytes() const { return file_.bytes().size(); }
  // In the order of the file.
  const std::vector<Section>& sections() const { return sections_; }
  bool has(const std::string& name) const { return index_.contains(name); }
  const Section& section(const std::string& name) const;

  // The section's bytes, as mapped, after their checksum was found right (once).
  std::span<const std::byte> bytes(const Section& section) const;

  // Gives a section's pages back to the system, for who has made something else of it.
  void release(const std::string& name) const { file_.release(bytes(section(name))); }

  std::string text(const std::string& name) const;
  // A kBf16 or kF16 section's values; kind and shape are in section(name).
  std::span<const uint16_t> raw(const std::string& name) const;
  // Whether a kQuantized section is in the runnable layout, as its first byte says: nothing else is
  // read, nor its checksum.
  bool is_runnable(const Section& section) const;
  // A kQuantized section's matrix, to be decoded tile by tile while the reader lives, or whole.
  TensorDecoder decoder(const std::string& name) const;
  QuantizedTensor quantized(const std::string& name, ThreadPool& pool) const;

  // {"schema", "format_version", "model_id", "producer", "options"}
  Json manifest() const;
  // What the manifest says, if it is what the contents say; throws Error if not.
  std::string checked_model_id() const;

  // Checks every byte of the file: all checksums, that padding is zero, that texts decompress,
  // that quantized tensors decode, and that the model_id is that of the content.
  void verify(ThreadPool& pool) const;

 private:
  void read_table(std::span<const std::byte> table, uint64_t table_offset, uint64_t count);
  [[noreturn]] void fail(const std::string& what) const;
  const Section& section(const std::string& name, SectionKind kind) const;

  MappedFile file_;
  std::vector<Section> sections_;
  std::unordered_map<std::string, size_t> index_;
  std::unique_ptr<std::atomic<bool>[]> checked_;  // for each section
};

}  // namespace watersic
