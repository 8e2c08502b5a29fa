#include "linalg/blas.h"

#include <cblas.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "watersic/error.h"

// OpenBLAS carries LAPACK; these are its Fortran symbols.
extern "C" {
void dpotrf_(const char* uplo, const int* n, double* a, const int* lda, int* info);
void spotrf_(const char* uplo, const int* n, float* a, const int* lda, int* info);
void dsyevd_(const char* jobz, const char* uplo, const int* n, double* a, const int* lda, double* w,
             double* work, const int* lwork, int* iwork, const int* liwork, int* info);
}

namespace watersic {
namespace {

// C is computed in tiles of this size, each by one BLAS call.
constexpr int64_t kTileRows = 256;
constexpr int64_t kTileCols = 512;
constexpr int64_t kPanel = 256;

// OpenBLAS must not start threads of its own: the pool has them, and its sums depend on their
// number.
void one_blas_thread() {
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
}

// Where the tile-th kPanel x kPanel tile on or below the diagonal begins, row by row.
std::pair<int64_t, int64_t> lower_tile(int64_t tile) {
  int64_t row = 0;
  while ((row + 1) * (row + 2) / 2 <= tile) ++row;
  return {row * kPanel, (tile - row * (row + 1) / 2) * kPanel};
}

int narrow(int64_t x) { return static_cast<int>(x); }
CBLAS_TRANSPOSE cblas(Op op) { return op == Op::kNone ? CblasNoTrans : CblasTrans; }

void gemm_tile(CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, int m, int n, int k, float alpha,
               const float* A, int lda, const float* B, int ldb, float beta, float* C, int ldc) {
  cblas_sgemm(CblasRowMajor, a, b, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc);
}
void gemm_tile(CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, int m, int n, int k, double alpha,
               const double* A, int lda, const double* B, int ldb, double beta, double* C,
               int ldc) {
  cblas_dgemm(CblasRowMajor, a, b, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc);
}
void trsm_tile(CBLAS_TRANSPOSE op, int m, int n, const float* L, int ldl, float* X, int ldx) {
  cblas_strsm(CblasRowMajor, CblasRight, CblasLower, op, CblasNonUnit, m, n, 1, L, ldl, X, ldx);
}
void trsm_tile(CBLAS_TRANSPOSE op, int m, int n, const double* L, int ldl, double* X, int ldx) {
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, op, CblasNonUnit, m, n, 1, L, ldl, X, ldx);
}

// C = A^T A on and below the diagonal.
void syrk_tile(int n, int k, const float* A, int lda, float* C, int ldc) {
  cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, n, k, 1, A, lda, 0, C, ldc);
}
void syrk_tile(int n, int k, const double* A, int lda, double* C, int ldc) {
  cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, n, k, 1, A, lda, 0, C, ldc);
}

template <class T>
void tiled_gemm(ThreadPool& pool, Op op_a, Op op_b, T alpha, MatrixView<const T> A,
                MatrixView<const T> B, T beta, MatrixView<T> C) {
  const int64_t m = C.rows(), n = C.cols(), k = op_a == Op::kNone ? A.cols() : A.rows();
  assert((op_a == Op::kNone ? A.rows() : A.cols()) == m);
  assert((op_b == Op::kNone ? B.rows() : B.cols()) == k);
  assert((op_b == Op::kNone ? B.cols() : B.rows()) == n);
  if (m == 0 || n == 0) return;
  one_blas_thread();
  const int64_t across = tile_count(n, kTileCols);
  pool.parallel_for(tile_count(m, kTileRows) * across, [&](int64_t tile) {
    const int64_t i = tile / across * kTileRows, j = tile % across * kTileCols;
    const T* a = A.data() + (op_a == Op::kNone ? i * A.stride() : i);
    const T* b = B.data() + (op_b == Op::kNone ? j : j * B.stride());
    gemm_tile(cblas(op_a), cblas(op_b), narrow(std::min(kTileRows, m - i)),
              narrow(std::min(kTileCols, n - j)), narrow(k), alpha, a, narrow(A.stride()), b,
              narrow(B.stride()), beta, C.data() + i * C.stride() + j, narrow(C.stride()));
  });
}

template <class T>
void tiled_solve(ThreadPool& pool, Op op, MatrixView<const T> L, MatrixView<T> X) {
  assert(L.rows() == L.cols() && X.cols() == L.rows());
  if (X.size() == 0) return;
  one_blas_thread();
  pool.parallel_for(tile_count(X.rows(), kTileRows), [&](int64_t tile) {
    const int64_t i = tile * kTileRows;
    trsm_tile(cblas(op), narrow(std::min(kTileRows, X.rows() - i)), narrow(X.cols()), L.data(),
              narrow(L.stride()), X.data() + i * X.stride(), narrow(X.stride()));
  });
}

// That tile of S += X^T Y, the products summed in T over kGramRows rows, then as S is. `lower`: it
// lies on the diagonal, Y is X, and what is above the diagonal is left alone.
template <class T, class Sum>
void add_tile(MatrixView<const T> X, MatrixView<const T> Y, MatrixView<Sum> S, const Tile& tile,
              bool lower = false) {
  const auto [i, j, height, width] = tile;
  std::vector<T> sum(static_cast<size_t>(height * width));
  for (int64_t k = 0; k < X.rows(); k += kGramRows) {
    const int64_t count = std::min(kGramRows, X.rows() - k);
    const T* x = X.data() + k * X.stride() + i;
    if (lower) {
      syrk_tile(narrow(height), narrow(count), x, narrow(X.stride()), sum.data(), narrow(width));
    } else {
      gemm_tile(CblasTrans, CblasNoTrans, narrow(height), narrow(width), narrow(count), T{1}, x,
                narrow(X.stride()), Y.data() + k * Y.stride() + j, narrow(Y.stride()), T{0},
                sum.data(), narrow(width));
    }
    for (int64_t r = 0; r < height; ++r) {
      Sum* s = S.data() + (i + r) * S.stride() + j;
      for (int64_t c = 0; c < (lower ? r + 1 : width); ++c)
        s[c] += static_cast<Sum>(sum[static_cast<size_t>(r * width + c)]);
    }
  }
}

// In blocks of whole cache lines.
template <class T>
void mirror_blocks(MatrixView<T> S, const Tile& tile) {
  constexpr int64_t kBlock = 16;
  const int64_t bottom = tile.row + tile.rows, right = tile.col + tile.cols;
  for (int64_t i0 = tile.row; i0 < bottom; i0 += kBlock) {
    for (int64_t j0 = tile.col; j0 < right; j0 += kBlock) {
      for (int64_t j = j0; j < std::min(j0 + kBlock, right); ++j)
        for (int64_t i = std::max(i0, j + 1); i < std::min(i0 + kBlock, bottom); ++i)
          S(j, i) = S(i, j);
    }
  }
}

template <class T, class Sum>
void tiled_gram(ThreadPool& pool, MatrixView<const T> X, MatrixView<Sum> S, TileShare share = {}) {
  const int64_t n = X.cols();
  assert(S.rows() == n && S.cols() == n);
  one_blas_thread();
  // Tiles on and below the diagonal; each also fills its mirror image.
  pool.parallel_for(gram_tiles(n), [&](int64_t index) {
    if (!share.has(index)) return;
    const Tile tile = gram_tile(n, index);
    add_tile<T>(X, X, S, tile, tile.row == tile.col);
    mirror_blocks(S, tile);
  });
}

template <class Sum>
void tiled_cross(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> Y,
                 MatrixView<Sum> S, TileShare share) {
  assert(X.rows() == Y.rows() && S.rows() == X.cols() && S.cols() == Y.cols());
  one_blas_thread();
  pool.parallel_for(cross_tiles(X.cols(), Y.cols()), [&](int64_t index) {
    if (share.has(index)) add_tile<float>(X, Y, S, cross_tile(X.cols(), Y.cols(), index));
  });
}

int factor_block(int n, double* A, int stride) {
  int info = 0;
  dpotrf_("U", &n, A, &stride, &info);  // Fortran's upper is the row-major lower
  return info;
}
int factor_block(int n, float* A, int stride) {
  int info = 0;
  spotrf_("U", &n, A, &stride, &info);
  return info;
}

// Right-looking, by panels: factor the diagonal block, solve the column below it, update the rest.
template <class T>
int64_t paneled_cholesky(ThreadPool& pool, MatrixView<T> A) {
  assert(A.rows() == A.cols());
  one_blas_thread();
  const int64_t n = A.rows();
  for (int64_t k = 0; k < n; k += kPanel) {
    const int64_t width = std::min(kPanel, n - k), below = n - k - width;
    const int size = narrow(width), stride = narrow(A.stride());
    if (const int info = factor_block(size, &A(k, k), stride); info != 0) return k + info - 1;
    if (below == 0) break;
    const MatrixView<T> panel = A.block(k + width, k, below, width);
    tiled_solve<T>(pool, Op::kTranspose, A.block(k, k, width, width), panel);
    const int64_t blocks = tile_count(below, kPanel);
    pool.parallel_for(blocks * (blocks + 1) / 2, [&](int64_t tile) {
      const auto [i, j] = lower_tile(tile);
      gemm_tile(CblasNoTrans, CblasTrans, narrow(std::min(kPanel, below - i)),
                narrow(std::min(kPanel, below - j)), size, T{-1}, panel.data() + i * panel.stride(),
                stride, panel.data() + j * panel.stride(), stride, T{1},
                &A(k + width + i, k + width + j), stride);
    });
  }
  for (int64_t i = 0; i < n; ++i) std::fill(&A(i, i) + 1, A.data() + i * A.stride() + n, T{0});
  return -1;
}

// sum_ij S_ij (E^T E)_ij over the tiles on and below the diagonal; E^T E is never held whole.
template <class T>
double trace_by_tiles(ThreadPool& pool, MatrixView<const T> E, MatrixView<const double> S) {
  const int64_t n = E.cols();
  assert(S.rows() == n && S.cols() == n);
  one_blas_thread();
  const int64_t blocks = tile_count(n, kPanel);
  std::vector<double> partial(static_cast<size_t>(blocks * (blocks + 1) / 2));
  pool.parallel_for(static_cast<int64_t>(partial.size()), [&](int64_t tile) {
    const auto [i, j] = lower_tile(tile);
    const int64_t height = std::min(kPanel, n - i), width = std::min(kPanel, n - j);
    Matrix<T> gram(height, width);
    gemm_tile(CblasTrans, CblasNoTrans, narrow(height), narrow(width), narrow(E.rows()), T{1},
              E.data() + i, narrow(E.stride()), E.data() + j, narrow(E.stride()), T{0}, gram.data(),
              narrow(width));
    double sum = 0;
    for (int64_t r = 0; r < height; ++r)
      for (int64_t c = 0; c < width; ++c) sum += static_cast<double>(gram(r, c)) * S(i + r, j + c);
    partial[static_cast<size_t>(tile)] = i == j ? sum : 2 * sum;
  });
  double trace = 0;
  for (const double sum : partial) trace += sum;
  return trace;
}

void eigen_decompose(const char* vectors, Matrix<double>& A, std::vector<double>& values) {
  assert(A.rows() == A.cols());
  one_blas_thread();
  const int n = narrow(A.rows());
  if (n == 0) return;
  int info = 0, liwork = -1, lwork = -1, iwork_size = 0;
  double work_size = 0;
  dsyevd_(vectors, "U", &n, A.data(), &n, values.data(), &work_size, &lwork, &iwork_size, &liwork,
          &info);
  lwork = static_cast<int>(work_size);
  liwork = iwork_size;
  std::vector<double> work(static_cast<size_t>(lwork));
  std::vector<int> iwork(static_cast<size_t>(liwork));
  dsyevd_(vectors, "U", &n, A.data(), &n, values.data(), work.data(), &lwork, iwork.data(), &liwork,
          &info);
  if (info != 0) throw Error("the eigenvalues of a covariance did not converge");
}

}  // namespace

std::string blas_processor() { return openblas_get_corename(); }

void gemm(ThreadPool& pool, Op op_a, Op op_b, float alpha, MatrixView<const float> A,
          MatrixView<const float> B, float beta, MatrixView<float> C) {
  tiled_gemm(pool, op_a, op_b, alpha, A, B, beta, C);
}
void gemm(ThreadPool& pool, Op op_a, Op op_b, double alpha, MatrixView<const double> A,
          MatrixView<const double> B, double beta, MatrixView<double> C) {
  tiled_gemm(pool, op_a, op_b, alpha, A, B, beta, C);
}

int64_t gram_tiles(int64_t n) {
  const int64_t blocks = tile_count(n, kPanel);
  return blocks * (blocks + 1) / 2;
}
Tile gram_tile(int64_t n, int64_t tile) {
  const auto [i, j] = lower_tile(tile);
  return {i, j, std::min(kPanel, n - i), std::min(kPanel, n - j)};
}
void mirror_tile(MatrixView<float> S, const Tile& tile) { mirror_blocks(S, tile); }
void mirror_tile(MatrixView<double> S, const Tile& tile) { mirror_blocks(S, tile); }
int64_t cross_tiles(int64_t m, int64_t n) { return tile_count(m, kPanel) * tile_count(n, kPanel); }
Tile cross_tile(int64_t m, int64_t n, int64_t tile) {
  const int64_t across = tile_count(n, kPanel), i = tile / across * kPanel,
                j = tile % across * kPanel;
  return {i, j, std::min(kPanel, m - i), std::min(kPanel, n - j)};
}

void add_gram(ThreadPool& pool, MatrixView<const float> X, MatrixView<double> S, TileShare share) {
  tiled_gram(pool, X, S, share);
}
void add_gram(ThreadPool& pool, MatrixView<const double> X, MatrixView<double> S) {
  tiled_gram(pool, X, S);
}
void add_gram(ThreadPool& pool, MatrixView<const float> X, MatrixView<float> S, TileShare share) {
  tiled_gram(pool, X, S, share);
}

void add_cross(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> Y,
               MatrixView<float> S, TileShare share) {
  tiled_cross(pool, X, Y, S, share);
}
void add_cross(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> Y,
               MatrixView<double> S, TileShare share) {
  tiled_cross(pool, X, Y, S, share);
}

void subtract_product(ThreadPool& pool, MatrixView<const double> A, MatrixView<const double> B,
                      MatrixView<double> S, TileShare share) {
  const int64_t m = S.rows(), n = S.cols(), k = A.cols();
  assert(A.rows() == m && B.rows() == k && B.cols() == n);
  one_blas_thread();
  pool.parallel_for(cross_tiles(m, n), [&](int64_t index) {
    if (!share.has(index)) return;
    const auto [i, j, height, width] = cross_tile(m, n, index);
    gemm_tile(CblasNoTrans, CblasNoTrans, narrow(height), narrow(width), narrow(k), -1.0,
              A.data() + i * A.stride(), narrow(A.stride()), B.data() + j, narrow(B.stride()), 1.0,
              S.data() + i * S.stride() + j, narrow(S.stride()));
  });
}

void multiply_lower(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> L,
                    MatrixView<float> Y) {
  const int64_t n = L.rows(), m = X.rows();
  assert(L.cols() == n && X.cols() == n && Y.rows() == n && Y.cols() == m);
  if (m == 0 || n == 0) return;
  one_blas_thread();
  const int64_t across = tile_count(m, kTileCols);
  pool.parallel_for(tile_count(n, kTileRows) * across, [&](int64_t tile) {
    const int64_t j = tile / across * kTileRows, k = tile % across * kTileCols;
    gemm_tile(CblasTrans, CblasTrans, narrow(std::min(kTileRows, n - j)),
              narrow(std::min(kTileCols, m - k)), narrow(n - j), 1.0F, &L(j, j), narrow(L.stride()),
              &X(k, j), narrow(X.stride()), 0.0F, &Y(j, k), narrow(Y.stride()));
  });
}

void solve_right_lower(ThreadPool& pool, Op op, MatrixView<const double> L, MatrixView<double> X) {
  tiled_solve(pool, op, L, X);
}
void solve_right_lower(ThreadPool& pool, Op op, MatrixView<const float> L, MatrixView<float> X) {
  tiled_solve(pool, op, L, X);
}

int64_t cholesky(ThreadPool& pool, MatrixView<double> A) { return paneled_cholesky(pool, A); }
int64_t cholesky(ThreadPool& pool, MatrixView<float> A) { return paneled_cholesky(pool, A); }

Matrix<float> narrow(ThreadPool& pool, MatrixView<const double> M) {
  Matrix<float> out(M.rows(), M.cols());
  pool.parallel_for(M.rows(), [&](int64_t i) {
    for (int64_t j = 0; j < M.cols(); ++j) out(i, j) = static_cast<float>(M(i, j));
  });
  return out;
}

double quadratic_trace(ThreadPool& pool, MatrixView<const double> E, MatrixView<const double> S) {
  return trace_by_tiles(pool, E, S);
}
double quadratic_trace(ThreadPool& pool, MatrixView<const float> E, MatrixView<const double> S) {
  return trace_by_tiles(pool, E, S);
}

std::vector<double> symmetric_eigenvalues(Matrix<double> A) {
  std::vector<double> values(static_cast<size_t>(A.rows()));
  eigen_decompose("N", A, values);
  return values;
}

// LAPACK leaves eigenvectors in columns, and its columns are our rows.
SymmetricEigen symmetric_eigen(Matrix<double> A) {
  SymmetricEigen eigen{std::vector<double>(static_cast<size_t>(A.rows())), std::move(A)};
  eigen_decompose("V", eigen.vectors, eigen.values);
  return eigen;
}

}  // namespace watersic
