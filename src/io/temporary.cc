#include "io/temporary.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "io/file_lock.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMark = ".tmp-";

[[noreturn]] void fail(const fs::path& path, const char* what) {
  throw Error(fmt::format("{}: {}: {}", path.string(), what, std::strerror(errno)));
}

void remove_stale(const fs::path& path) {
  const std::string begin = path.filename().string() + kMark;
  const fs::path parent = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.size() != begin.size() + 6 || !name.starts_with(begin)) continue;
    const int file = ::open(entry.path().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) continue;
    if (try_lock(file) == Locked::kYes) fs::remove_all(entry.path(), ignored);
    ::close(file);
  }
}

}  // namespace

SignalList<Temporary::Known> Temporary::all;

Temporary::Temporary(const fs::path& path, Kind kind) : kind_(kind) {
  remove_stale(path);
  for (;;) {
    std::string name = path.string() + kMark + "XXXXXX";
    if (kind == Kind::kFile) {
      file_ = ::mkostemp(name.data(), O_CLOEXEC);
    } else if (::mkdtemp(name.data()) != nullptr) {
      file_ = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (file_ < 0) {
        const int why = errno;
        ::rmdir(name.c_str());
        errno = why;
      }
    }
    if (file_ < 0) fail(path, "cannot be created");
    struct stat named {};
    // Another process may have taken it for a dead one's before it was locked. Without locks on
    // this file system nobody does.
    if (try_lock(file_) != Locked::kBusy && ::stat(name.c_str(), &named) == 0) {
      path_ = name;
      entry_ = all.add({path_.string(), kind});
      ::fchmod(file_, kind == Kind::kFile ? 0644 : 0755);
      return;
    }
    ::close(file_);
    file_ = -1;
  }
}

Temporary::Temporary(const fs::path& existing)
    : path_(existing), entry_(all.add({existing.string(), Kind::kFile})) {}

Temporary::Temporary(Temporary&& other) noexcept
    : path_(std::move(other.path_)),
      kind_(other.kind_),
      file_(std::exchange(other.file_, -1)),
      entry_(std::exchange(other.entry_, nullptr)) {}

Temporary::~Temporary() {
  if (entry_ != nullptr) {
    if (kind_ == Kind::kFile) {
      ::unlink(path_.c_str());
    } else {
      ::rmdir(path_.c_str());
    }
    keep();
  }
  if (file_ >= 0) ::close(file_);
}

void Temporary::keep() {
  if (entry_ == nullptr) return;
  all.remove(entry_);
  entry_ = nullptr;
}

void remove_temporary_files() noexcept {
  using Kind = Temporary::Kind;
  for (const Kind kind : {Kind::kFile, Kind::kFolder}) {  // folders once they are empty
    Temporary::all.for_each([kind](const Temporary::Known& known) {
      if (known.kind != kind) return;
      if (kind == Kind::kFile) {
        ::unlink(known.path.c_str());
      } else {
        ::rmdir(known.path.c_str());
      }
    });
  }
}

void sync_folder(const fs::path& folder) {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) fail(folder, "cannot be opened");
  const int result = ::fsync(file), why = errno;
  ::close(file);
  errno = why;
  // Not every file system lets a folder be synced.
  if (result != 0 && why != EINVAL && why != ENOSYS) fail(folder, "cannot be synced");
}

}  // namespace watersic
