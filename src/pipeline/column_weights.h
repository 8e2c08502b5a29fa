// What errors in the columns of a layer weigh in the loop.
#pragma once

#include <vector>

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

// The squared diagonal of S's Cholesky factor, S n x n and damped as by default, or more where it
// takes more.
std::vector<double> column_weights(ThreadPool& pool, const Matrix<double>& S);

}  // namespace watersic
