// Numbers that memory has no room for, in a file without a name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

namespace watersic {

// The file goes with the object, however the program ends. One thread at a time.
class ScratchFile {
 public:
  // Beside `path`; made when the first numbers come.
  explicit ScratchFile(std::filesystem::path path) : path_(std::move(path)) {}
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  // Puts numbers behind those that are there; returns where they begin. Throws Error, naming the
  // path, where the file can't be made or written.
  int64_t put(std::span<const float> values);
  // Puts numbers in the place of as many that were put there. Throws Error.
  void replace(int64_t at, std::span<const float> values);
  // Reads back what was put there. Throws Error.
  void get(int64_t at, std::span<float> values) const;
  // Forgets all that was put.
  void clear() { size_ = 0; }

 private:
  void write(int64_t at, std::span<const float> values);

  std::filesystem::path path_;
  int file_ = -1;
  int64_t size_ = 0;  // in numbers
};

}  // namespace watersic
