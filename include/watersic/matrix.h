// Row-major matrices: a view that owns nothing and a matrix that owns its elements.
#pragma once

#include <cassert>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace watersic {

// `rows` x `cols` elements; element (i, j) is data[i * stride + j]. Copying a view copies no data.
template <class T>
class MatrixView {
 public:
  MatrixView() = default;
  MatrixView(T* data, int64_t rows, int64_t cols, int64_t stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {
    assert(rows >= 0 && cols >= 0 && stride >= cols);
  }
  MatrixView(T* data, int64_t rows, int64_t cols) : MatrixView(data, rows, cols, cols) {}

  // A view of const elements from a view of mutable ones.
  template <class U>
    requires(std::is_same_v<T, const U>)
  MatrixView(MatrixView<U> other)  // NOLINT: implicit, as T* to const T*
      : MatrixView(other.data(), other.rows(), other.cols(), other.stride()) {}

  T* data() const { return data_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t stride() const { return stride_; }
  int64_t size() const { return rows_ * cols_; }

  T& operator()(int64_t i, int64_t j) const {
    assert(i >= 0 && i < rows_ && j >= 0 && j < cols_);
    return data_[i * stride_ + j];
  }
  std::span<T> row(int64_t i) const {
    assert(i >= 0 && i < rows_);
    return {data_ + i * stride_, static_cast<size_t>(cols_)};
  }
  // Rows [i, i + rows) and columns [j, j + cols).
  MatrixView block(int64_t i, int64_t j, int64_t rows, int64_t cols) const {
    assert(i >= 0 && j >= 0 && i + rows <= rows_ && j + cols <= cols_);
    return MatrixView(data_ + i * stride_ + j, rows, cols, stride_);
  }

 private:
  T* data_ = nullptr;
  int64_t rows_ = 0, cols_ = 0, stride_ = 0;
};

// Owns its elements; zero at first.
template <class T>
class Matrix {
 public:
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols)
      : rows_(rows), cols_(cols), values_(static_cast<size_t>(rows * cols)) {}

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t size() const { return rows_ * cols_; }
  bool empty() const { return values_.empty(); }
  T* data() { return values_.data(); }
  const T* data() const { return values_.data(); }
  std::span<T> values() { return values_; }
  std::span<const T> values() const { return values_; }

  T& operator()(int64_t i, int64_t j) { return view()(i, j); }
  const T& operator()(int64_t i, int64_t j) const { return view()(i, j); }
  std::span<T> row(int64_t i) { return view().row(i); }
  std::span<const T> row(int64_t i) const { return view().row(i); }

  MatrixView<T> view() { return {values_.data(), rows_, cols_}; }
  MatrixView<const T> view() const { return {values_.data(), rows_, cols_}; }
  operator MatrixView<T>() { return view(); }              // NOLINT: a matrix is viewed freely
  operator MatrixView<const T>() const { return view(); }  // NOLINT

 private:
  int64_t rows_ = 0, cols_ = 0;
  std::vector<T> values_;
};

}  // namespace watersic
