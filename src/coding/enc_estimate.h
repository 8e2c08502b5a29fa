// What coding will cost, without coding.
#pragma once

#include <cstdint>

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

// The empirical entropy of all integers as one source, in bits each; 0 where there are none. With a
// trellis (codes: m = 2k + q) that of k given q.
double pooled_entropy(const Matrix<int32_t>& codes, bool trellis = false);

// What encode_tensor will spend on the integers, classes and lane states included, in bits each,
// within about 0.005: for a matrix of `rows` rows of which `codes` are some (0: all). k, or m with
// a trellis.
double class_entropy(const Matrix<int32_t>& codes, bool trellis, ThreadPool& pool,
                     int64_t rows = 0);

}  // namespace watersic
