// Text files: read whole and checked, written so that half a file is never seen.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace watersic {

// The whole of `text` to `path`: written beside it, synced, renamed. Throws Error, naming the path.
void write_file(const std::filesystem::path& path, std::string_view text);

// Throws Error, naming the path, where write_file could not write it: better before long work than
// after it.
void check_writable(const std::filesystem::path& path);

// Removes the files and folders under temporary names that this process has made so far, for a
// program that ends on a signal: may be called from its handler, just before it ends.
void remove_temporary_files() noexcept;

// The file that is mapped there, or null: for the handler of SIGBUS, which comes where a mapped
// file has become shorter, or can't be read.
const char* mapped_file_at(const void* address) noexcept;

// The whole file; it must be valid UTF-8 and not empty. Throws Error with the offset of a bad byte.
std::string read_text(const std::filesystem::path& path);

}  // namespace watersic
