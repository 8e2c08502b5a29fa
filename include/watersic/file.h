// Writing results so that half a file is never seen.
#pragma once

#include <filesystem>
#include <string_view>

namespace watersic {

// The whole of `text` to `path`: written beside it, synced, renamed. Throws Error, naming the path.
void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace watersic
