#include "io/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "watersic/error.h"

namespace watersic {
namespace {

std::string this_process() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("process {} on {}", ::getpid(), host.data());
}

// What the holder wrote; anyone could have put anything there.
std::string holder_of(int file) {
  std::array<char, 300> text{};
  const ssize_t read = ::pread(file, text.data(), text.size(), 0);
  std::string holder(text.data(), static_cast<size_t>(std::max<ssize_t>(0, read)));
  for (const char c : holder)
    if (c < ' ' || c > '~') return "another process";
  return holder.empty() ? "another process" : holder;
}

// Whether the name still stands for the open file: its folder may have been taken away between.
bool is_same_file(int file, const std::filesystem::path& path) {
  struct stat opened {
  }, named{};
  return ::fstat(file, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

Locked try_lock(int file) {
  int result = 0;
  do result = ::flock(file, LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result == 0) return Locked::kYes;
  return errno == EWOULDBLOCK ? Locked::kBusy : Locked::kNo;
}

FileLock::FileLock(const std::filesystem::path& path) {
  const auto fail = [&](const char* what) {
    throw Error(fmt::format("{}: {}: {}", path.string(), what, std::strerror(errno)));
  };
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file_ < 0) fail("cannot be opened");
  try {
    const Locked locked = try_lock(file_);
    if (locked == Locked::kBusy)
      throw Error(fmt::format("{}: is held by {}", path.string(), holder_of(file_)));
    if (locked == Locked::kNo) fail("cannot be locked");
    if (!is_same_file(file_, path))
      throw Error(fmt::format("{}: was taken away by another process", path.string()));
    const std::string holder = this_process();
    if (::ftruncate(file_, 0) != 0 ||
        ::pwrite(file_, holder.data(), holder.size(), 0) != static_cast<ssize_t>(holder.size()))
      fail("cannot be written");
  } catch (...) {
    ::close(file_);
    throw;
  }
}

FileLock::~FileLock() { ::close(file_); }

}  // namespace watersic
