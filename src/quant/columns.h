// The column quantizers: how one column becomes integers inside the cancellation loop.
#pragma once

#include <vector>

#include "base/threads.h"
#include "quant/rounder.h"
#include "quant/sic.h"

namespace watersic {

// ZSIC (WaterSIC, arXiv 2603.04956, algorithm 1): z = Q(y / c), the column's step alpha_i = c /
// L_ii, shrunk by the LMMSE factor g = <z, y> / (c |z|^2) if asked; g = 0 where z = 0. Here z are
// values, that is the rounder's integers times its unit.
template <class T>
class ZsicQuantizer : public ColumnQuantizer<T> {
 public:
  // diagonal: L_ii of each column.
  ZsicQuantizer(ThreadPool& pool, Rounder& rounder, double c, bool lmmse,
                std::vector<double> diagonal);
  void quantize(int64_t i, std::span<T> y, std::span<int32_t> z) override;

  const std::vector<double>& lmmse_factor() const { return g_; }  // 1 where LMMSE is off
  std::vector<double> alpha() const;

 private:
  ThreadPool& pool_;
  Rounder& rounder_;
  double c_;
  bool lmmse_;
  std::vector<double> diagonal_, g_;
};

// One step for all columns, unbounded integers (Huffman-GPTQ).
template <class T>
class UniformQuantizer : public ColumnQuantizer<T> {
 public:
  UniformQuantizer(ThreadPool& pool, Rounder& rounder, double step, std::vector<double> diagonal);
  void quantize(int64_t i, std::span<T> y, std::span<int32_t> z) override;

 private:
  ThreadPool& pool_;
  Rounder& rounder_;
  double step_;
  std::vector<double> diagonal_;
};

// The clipped grid of GPTQ (arXiv 2210.17323): 2^bits levels, symmetric, a scale for each row and
// panel: 2 max|w| / (2^bits - 1) over the panel's columns as they stand when it begins.
template <class T>
class GridQuantizer : public ColumnQuantizer<T> {
 public:
  // exponent: scales are halves times 2^exponent, rounded before they are used.
  GridQuantizer(ThreadPool& pool, int bits, int exponent, std::vector<double> diagonal);
  void begin_panel(int64_t lo, int64_t hi, MatrixView<const T> Y, MatrixView<const T> L) override;
  void quantize(int64_t i, std::span<T> y, std::span<int32_t> z) override;

  // One vector of row scales for each panel, in the order of the loop (the last columns first).
  const std::vector<std::vector<T>>& scales() const { return scales_; }

 private:
  ThreadPool& pool_;
  int bits_, exponent_;
  std::vector<double> diagonal_;
  std::vector<std::vector<T>> scales_;
};

// The scale of a grid of 2^bits levels for weights of magnitude up to `largest`, as stored; 1 for a
// row of zeros.
double grid_scale(double largest, int bits, int exponent);
// The integer of w on that grid: rounded, then clipped to [-2^(bits-1), 2^(bits-1) - 1].
template <class T>
T on_grid(T w, T scale, int bits);

}  // namespace watersic
