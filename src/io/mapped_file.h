// A file mapped read-only: its pages come in as they are touched.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "io/signal_list.h"

namespace watersic {

class MappedFile {
 public:
  // Throws Error, naming the path, where it can't be opened, is no regular file, or can't be
  // mapped.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Gives the pages of `part` back to the system: they are read again if they are touched again. So
  // a file read once from end to end does not count as memory in use.
  void release(std::span<const std::byte> part) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  struct Known {
    const std::byte* data = nullptr;
    size_t size = 0;
    std::string path;
  };
  static SignalList<Known> all;
  friend const char* mapped_file_at(const void* address) noexcept;

  std::filesystem::path path_;
  SignalList<Known>::Entry* entry_ = nullptr;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace watersic
