#include "io/atomic_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "watersic/error.h"

namespace watersic {
namespace {

const std::filesystem::path& not_a_folder(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path))
    throw Error(fmt::format("{}: cannot be written: is a directory", path.string()));
  return path;
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path)
    : path_(path), temporary_(not_a_folder(path), Temporary::Kind::kFile) {}

void AtomicFile::fail(const char* what) const {
  throw Error(fmt::format("{}: {}: {}", path_.string(), what, std::strerror(errno)));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write_at(size_, bytes);
  size_ += bytes.size();
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(temporary_.descriptor(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

void AtomicFile::commit() {
  if (::fsync(temporary_.descriptor()) != 0) fail("cannot be synced");
  if (::rename(temporary_.path().c_str(), path_.c_str()) != 0) fail("cannot be renamed into place");
  temporary_.keep();
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void check_writable(const std::filesystem::path& path) { const AtomicFile file(path); }

}  // namespace watersic
