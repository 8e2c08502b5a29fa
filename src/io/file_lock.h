// A file that one process at a time holds. The system lets go of it when the process ends, however
// it ends, so a dead one's lock is free.
#pragma once

#include <filesystem>

namespace watersic {

// The lock of an open file or folder: had, another process's, or not to be had (errno says why; not
// every file system has locks).
enum class Locked { kYes, kBusy, kNo };
Locked try_lock(int file);

class FileLock {
 public:
  // Creates the file where it is not there. Throws Error, naming the process and the machine that
  // hold it, or what keeps it from being made.
  explicit FileLock(const std::filesystem::path& path);
  // The file stays.
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int file_ = -1;
};

}  // namespace watersic
