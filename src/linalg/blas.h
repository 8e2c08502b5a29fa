// Dense linear algebra on the pool's threads. BLAS itself runs each fixed tile on one thread, so
// results do not depend on the number of threads. All matrices are row-major.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

// Which of OpenBLAS' kernels this processor takes: sums of others may differ in the last bit.
std::string blas_processor();

enum class Op { kNone, kTranspose };

// C = alpha op(A) op(B) + beta C. C must not overlap A or B.
void gemm(ThreadPool& pool, Op op_a, Op op_b, float alpha, MatrixView<const float> A,
          MatrixView<const float> B, float beta, MatrixView<float> C);
void gemm(ThreadPool& pool, Op op_a, Op op_b, double alpha, MatrixView<const double> A,
          MatrixView<const double> B, double beta, MatrixView<double> C);

// Which tiles of a sum are computed: those of one of `sharers` that share them, `mine` of [0,
// sharers). What the others' tiles hold stays as it is.
struct TileShare {
  int mine = 0, sharers = 1;
  bool has(int64_t tile) const { return tile % sharers == mine; }
};

// Those tiles: of a symmetric n x n sum those on and below the diagonal, of an m x n sum all.
struct Tile {
  int64_t row = 0, col = 0, rows = 0, cols = 0;
};
int64_t gram_tiles(int64_t n);
Tile gram_tile(int64_t n, int64_t tile);
// Fills what is above the diagonal from that tile below it.
void mirror_tile(MatrixView<float> S, const Tile& tile);
void mirror_tile(MatrixView<double> S, const Tile& tile);
int64_t cross_tiles(int64_t m, int64_t n);
Tile cross_tile(int64_t m, int64_t n, int64_t tile);

// S += X^T X for X (k x n), all of S (n x n) filled. The products are summed in float32 over at
// most kGramRows rows at a time, the sums in float64; with X in float64 all is float64.
constexpr int64_t kGramRows = 512;
void add_gram(ThreadPool& pool, MatrixView<const float> X, MatrixView<double> S,
              TileShare share = {});
void add_gram(ThreadPool& pool, MatrixView<const double> X, MatrixView<double> S);
// Summed in float32 throughout: for moments of few tokens, whose chance is far above its rounding.
void add_gram(ThreadPool& pool, MatrixView<const float> X, MatrixView<float> S,
              TileShare share = {});

// S += X^T Y for X (k x m), Y (k x n), S m x n; summed in float32, or as add_gram does.
void add_cross(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> Y,
               MatrixView<float> S, TileShare share = {});
void add_cross(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> Y,
               MatrixView<double> S, TileShare share = {});

// S -= A B for A (m x k), B (k x n), S m x n, by the tiles of add_cross.
void subtract_product(ThreadPool& pool, MatrixView<const double> A, MatrixView<const double> B,
                      MatrixView<double> S, TileShare share = {});

// Y = (X L)^T for lower triangular L (n x n), X m x n, Y n x m: half of what a product takes.
void multiply_lower(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> L,
                    MatrixView<float> Y);

// Lower Cholesky factor in place: A = L L^T, with zeros above the diagonal. Returns -1, or the
// first column whose pivot is not positive (A is then spoilt).
int64_t cholesky(ThreadPool& pool, MatrixView<double> A);
int64_t cholesky(ThreadPool& pool, MatrixView<float> A);

// X := X L^{-1} (kNone) or X L^{-T} (kTranspose), L lower triangular (n x n), X m x n.
void solve_right_lower(ThreadPool& pool, Op op, MatrixView<const double> L, MatrixView<double> X);
void solve_right_lower(ThreadPool& pool, Op op, MatrixView<const float> L, MatrixView<float> X);

// The same numbers in float32.
Matrix<float> narrow(ThreadPool& pool, MatrixView<const double> M);

// tr(E S E^T) for E (a x n) and symmetric S (n x n). With E in float32 so is E^T E.
double quadratic_trace(ThreadPool& pool, MatrixView<const double> E, MatrixView<const double> S);
double quadratic_trace(ThreadPool& pool, MatrixView<const float> E, MatrixView<const double> S);

// Eigenvalues of a symmetric matrix, rising. Takes its copy by value.
std::vector<double> symmetric_eigenvalues(Matrix<double> A);

// Eigenvalues, rising, and the eigenvectors as rows: A = vectors^T diag(values) vectors.
struct SymmetricEigen {
  std::vector<double> values;
  Matrix<double> vectors;
};
SymmetricEigen symmetric_eigen(Matrix<double> A);

}  // namespace watersic
