// Sums whose tiles ranks have shared, made whole on all of them.
#pragma once

#include "dist/communicator.h"
#include "linalg/blas.h"
#include "watersic/matrix.h"

namespace watersic {

inline TileShare share_of(const Communicator& ranks) { return {ranks.rank(), ranks.size()}; }

// What add_gram summed by share_of(ranks): each rank tells its tiles. Empty ones stay so.
void gather_gram(const Communicator& ranks, Matrix<float>& S);
void gather_gram(const Communicator& ranks, Matrix<double>& S);
// What add_cross summed.
void gather_cross(const Communicator& ranks, Matrix<float>& S);
void gather_cross(const Communicator& ranks, Matrix<double>& S);

}  // namespace watersic
