// Matrices in NumPy's .npy format: version 1-3 headers, little-endian float32 or float64, C order.
#pragma once

#include <filesystem>

#include "watersic/matrix.h"

namespace watersic {

// A two-dimensional array, converted to T. Throws Error naming the file and what is wrong with it;
// NaN and infinities are errors too.
template <class T>
Matrix<T> read_npy(const std::filesystem::path& path);

// Written atomically.
template <class T>
void write_npy(const std::filesystem::path& path, MatrixView<const T> matrix);

}  // namespace watersic
