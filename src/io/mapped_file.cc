#include "io/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {

SignalList<MappedFile::Known> MappedFile::all;

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // A pipe opens at once, and is refused below.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    throw Error(fmt::format("{}: cannot be opened: {}", path.string(), std::strerror(errno)));
  struct stat status = {};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(file);
    throw Error(fmt::format("{}: is not a regular file", path.string()));
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ > 0) {  // an empty file can't be mapped, and need not be
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    if (address == MAP_FAILED) {
      const int error = errno;
      ::close(file);
      throw Error(fmt::format("{}: cannot be mapped: {}", path.string(), std::strerror(error)));
    }
    data_ = static_cast<const std::byte*>(address);
    entry_ = all.add({data_, size_, path.string()});
  }
  ::close(file);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      entry_(std::exchange(other.entry_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  all.remove(entry_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

const char* mapped_file_at(const void* address) noexcept {
  const char* path = nullptr;
  MappedFile::all.for_each([&](const MappedFile::Known& known) {
    const auto* at = static_cast<const std::byte*>(address);
    if (at >= known.data && at < known.data + known.size) path = known.path.c_str();
  });
  return path;
}

void MappedFile::release(std::span<const std::byte> part) const {
  if (part.empty()) return;
  // Whole pages, outwards: what a neighbour shares with `part` is only read again. Not
  // posix_madvise, of which glibc makes nothing here. A failure costs memory and nothing else.
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = static_cast<size_t>(part.data() - data_) / page * page;
  const size_t end = static_cast<size_t>(part.data() - data_) + part.size();
  ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace watersic
