// An orthogonal matrix from one that is nearly so.
#pragma once

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

// Gram and Schmidt's method (modified), over rising rows in float64: row i, made a unit, is taken
// out of all rows below it. Sums are made in a stated order (docs/format.md, "The basis"), so that
// the result is the same on every machine. Throws Error where the rows are not independent.
Matrix<float> orthonormal_rows(ThreadPool& pool, MatrixView<const float> rows);

// Its transpose: the orthogonal matrix of a stream, from its axes as a file tells them.
Matrix<float> stream_from_axes(ThreadPool& pool, MatrixView<const float> axes);

}  // namespace watersic
