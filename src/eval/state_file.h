// A model's states behind its last block, over the windows of a text, on disk: with them its logits
// cost the output head alone. Many models that are held against one reference share them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "io/atomic_file.h"
#include "io/mapped_file.h"
#include "watersic/matrix.h"

namespace watersic {

// A line of 64 bytes that names the content, then `rows` x `cols` float32, row by row.
class StateFile {
 public:
  // Opens what stands under `path`, or begins to write it. `identity`: a hash in hex of what the
  // states are made from. Throws Error where another identity or another size stands there.
  StateFile(const std::filesystem::path& path, const std::string& identity, int64_t rows,
            int64_t cols);

  // Whether all states are there to be read; else they are to be appended.
  bool complete() const { return mapped_ != nullptr; }
  Matrix<float> read(int64_t row, int64_t rows) const;
  void append(MatrixView<const float> states);
  // After the last row.
  void commit();

 private:
  [[maybe_unused]] int64_t rows_;  // of assertions only
  int64_t cols_, appended_ = 0;
  std::unique_ptr<MappedFile> mapped_;
  std::unique_ptr<AtomicFile> writer_;
};

}  // namespace watersic
