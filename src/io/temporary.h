// Files and folders under a temporary name beside the one that they get when they are whole.
#pragma once

#include <filesystem>
#include <string>

#include "io/signal_list.h"

namespace watersic {

// A new file or folder, PATH.tmp-XXXXXX. It goes when the object does, or when a signal ends the
// program (remove_temporary_files), unless it is kept. What a killed process left under such a name
// of the same PATH goes first: whom a temporary file belongs to holds its lock while it lives.
class Temporary {
 public:
  enum class Kind { kFile, kFolder };
  // Throws Error, naming `path`.
  Temporary(const std::filesystem::path& path, Kind kind);
  // Watches over a file that is there already, in a folder that is temporary itself.
  explicit Temporary(const std::filesystem::path& existing);
  ~Temporary();
  Temporary(Temporary&& other) noexcept;
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int descriptor() const { return file_; }  // of the open file or folder
  // It has its name now, or is gone.
  void keep();

 private:
  struct Known {
    std::string path;
    Kind kind = Kind::kFile;
  };
  static SignalList<Known> all;
  friend void remove_temporary_files() noexcept;

  std::filesystem::path path_;
  Kind kind_ = Kind::kFile;
  int file_ = -1;
  SignalList<Known>::Entry* entry_ = nullptr;
};

// Syncs a folder's list of names. Throws Error, naming the folder; file systems that can't are
// passed over.
void sync_folder(const std::filesystem::path& folder);

}  // namespace watersic
