// What every entry that takes a covariance checks of it.
#pragma once

#include "watersic/matrix.h"

namespace watersic {

// Throws Error where S is not n x n, finite and symmetric.
void check_covariance(MatrixView<const double> S, int64_t n);
// Throws Error where G is not a x a, finite and symmetric.
void check_output_metric(MatrixView<const double> G, int64_t a);
// Throws Error where W has no rows or columns, or a value is not finite.
void check_weights(MatrixView<const float> W);

}  // namespace watersic
