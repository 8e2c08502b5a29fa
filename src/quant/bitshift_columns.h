// Columns of the loop in the runnable layout: what they become, and for the plan what they would.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/threads.h"
#include "quant/bitshift_plan.h"
#include "quant/bitshift_search.h"
#include "quant/sic.h"

namespace watersic {

// What a unit of z is in the loop's domain in column i, of rows of a spread of 1.
double bitshift_unit(const BitshiftPlan& plan, size_t i);

// Stands in for the search: y becomes itself and noise of the water level. Learns the columns'
// spreads on the way.
class TestChannel final : public ColumnQuantizer<float> {
 public:
  // row_spread: of the rows of y; diagonal: L_ii of each column.
  TestChannel(double water, std::span<const double> row_spread, std::span<const double> diagonal,
              uint64_t seed);
  void quantize(int64_t i, std::span<float> y, std::span<int32_t> z) override;
  const std::vector<double>& spread() const { return spread_; }

 private:
  double water_;
  std::span<const double> row_spread_, diagonal_;
  std::vector<double> spread_;
  uint64_t seed_;
};

// Finds each column's path and writes its bits.
class BitshiftQuantizer final : public ColumnQuantizer<float> {
 public:
  // `matrix` is the plan's. diagonal: L_ii of each column; live: of each column of the loop its
  // number among the live ones. Writes to `payload`.
  BitshiftQuantizer(ThreadPool& pool, const BitshiftPlan& plan, Bitshift matrix,
                    std::span<const double> diagonal, std::span<const int32_t> live,
                    std::vector<uint8_t>& payload);

  // The next columns are of rows from `first` on, a multiple of kBitshiftRows, of which `kept` are
  // written; those behind are looked at only, so that paths end where they can go on well. Paths go
  // on from where they are, but where a segment begins.
  void begin_rows(int64_t first, int64_t kept) {
    first_ = first;
    kept_ = kept;
  }
  void quantize(int64_t i, std::span<float> y, std::span<int32_t> z) override;

  // The matrix whose payload was written, with its exceptions.
  Bitshift take();

 private:
  struct Stage {
    int64_t position = 0;  // among the layout's columns
    size_t run = 0;
    int window = BitshiftSearch::kFree;  // after the rows that are done
  };
  void quantize_segment(int64_t i, int64_t first, int64_t kept, std::span<float> y,
                        std::span<int32_t> z, std::vector<BitshiftException>& exceptions);
  void code_stage(Stage& stage, int32_t unit, int64_t first, int64_t kept, std::span<const float> u,
                  BitshiftSearch& search, std::span<int32_t> values);
  int level(size_t column, int64_t first, size_t k) const;
  std::unique_ptr<BitshiftSearch> search();
  void give_back(std::unique_ptr<BitshiftSearch> search);

  ThreadPool& pool_;
  const BitshiftPlan& plan_;
  std::span<const double> diagonal_;
  std::span<const int32_t> live_;
  std::vector<uint8_t>& payload_;
  Bitshift out_;
  int64_t first_ = 0, kept_ = 0;
  std::vector<std::vector<Stage>> stages_;  // of each column of the loop
  std::mutex mutex_;
  std::vector<std::unique_ptr<BitshiftSearch>> idle_;
};

}  // namespace watersic
