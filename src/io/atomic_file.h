// A file that appears under its name only when it is whole: written beside it, synced, renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "io/temporary.h"
#include "watersic/file.h"

namespace watersic {

class AtomicFile {
 public:
  // Creates a temporary file in the directory of `path`. Throws Error, naming the path.
  explicit AtomicFile(const std::filesystem::path& path);
  // Without commit() the temporary file is removed and `path` is as it was.

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  uint64_t size() const { return size_; }  // bytes appended so far

  // Syncs the file, renames it to `path`, syncs the directory.
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  Temporary temporary_;
  uint64_t size_ = 0;
};

}  // namespace watersic
