#include "io/scratch_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "io/temporary.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr auto kSize = static_cast<int64_t>(sizeof(float));

[[noreturn]] void scratch_failed(const std::filesystem::path& path, const char* what) {
  throw Error(fmt::format("{}: its temporary file {}: {}", path.string(), what,
                          errno == 0 ? "it is too short" : std::strerror(errno)));
}

// Calls transfer(bytes done, bytes left) until all are done.
template <class Transfer>
bool transferred(size_t bytes, const Transfer& transfer) {
  for (size_t done = 0; done < bytes;) {
    errno = 0;
    const ssize_t count = transfer(done, bytes - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

}  // namespace

ScratchFile::~ScratchFile() {
  if (file_ >= 0) ::close(file_);
}

int64_t ScratchFile::put(std::span<const float> values) {
  if (file_ < 0) {
    const Temporary named(path_, Temporary::Kind::kFile);  // unlinks it
    file_ = ::dup(named.descriptor());
    if (file_ < 0) scratch_failed(path_, "cannot be opened");
  }
  const int64_t at = size_;
  write(at, values);
  size_ += std::ssize(values);
  return at;
}

void ScratchFile::replace(int64_t at, std::span<const float> values) {
  assert(at + std::ssize(values) <= size_);
  write(at, values);
}

void ScratchFile::write(int64_t at, std::span<const float> values) {
  const auto bytes = std::as_bytes(values);
  if (!transferred(bytes.size(), [&](size_t done, size_t left) {
        return ::pwrite(file_, bytes.data() + done, left, at * kSize + static_cast<off_t>(done));
      }))
    scratch_failed(path_, "cannot be written");
}

void ScratchFile::get(int64_t at, std::span<float> values) const {
  assert(at + std::ssize(values) <= size_);
  const auto bytes = std::as_writable_bytes(values);
  if (!transferred(bytes.size(), [&](size_t done, size_t left) {
        return ::pread(file_, bytes.data() + done, left, at * kSize + static_cast<off_t>(done));
      }))
    scratch_failed(path_, "cannot be read");
}

}  // namespace watersic
