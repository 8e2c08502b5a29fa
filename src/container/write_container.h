// Writing a .wsic file, section by section, in one pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "container/common_format.h"
#include "io/atomic_file.h"
#include "io/json.h"

namespace watersic {

class ContainerWriter {
 public:
  // Nothing appears at `path` before finish(). Throws Error, as all others here, where the file
  // can't be written.
  explicit ContainerWriter(const std::filesystem::path& path);

  // Each appends a section; a name that was used before is an Error. What is returned is what the
  // section takes of the file, entry and padding included.
  //
  // A file of the checkpoint, verbatim ("config.json", "tokenizer.json", ...).
  uint64_t add_text(const std::string& name, std::string_view text);
  // A tensor kept in 16 bits: kind kBf16 or kF16, one or two dimensions, row-major.
  uint64_t add_raw(const std::string& name, SectionKind kind, const std::vector<int64_t>& shape,
                   std::span<const uint16_t> values);
  // What encode_tensor gave for a rows x cols matrix.
  uint64_t add_quantized(const std::string& name, int64_t rows, int64_t cols,
                         std::span<const std::byte> blob);

  struct Summary {
    uint64_t file_bytes = 0;
    std::string model_id;
    std::vector<Section> sections;  // in the order of the file; the manifest last
  };
  // Adds the manifest and the table of contents, syncs the file and gives it its name. `producer`:
  // program and version; `options`: any JSON object, kept as it is.
  Summary finish(const std::string& producer, const Json& options);

 private:
  uint64_t append(Section section, std::span<const std::byte> bytes);
  uint64_t append_text(const std::string& name, std::string_view text);

  std::string path_;
  AtomicFile file_;
  std::vector<Section> sections_;
  std::vector<std::byte> table_;
  std::string config_;
  bool finished_ = false;
};

}  // namespace watersic
