// How a tensor's integers are coded: classes and tables, chosen by what they cost.
#pragma once

#include <optional>
#include <vector>

#include "base/threads.h"
#include "coding/common_classes.h"
#include "coding/common_tensor.h"
#include "coding/enc_bits.h"
#include "coding/enc_spread.h"
#include "coding/enc_table.h"
#include "watersic/options.h"

namespace watersic {

struct CodingModel {
  Classes classes;
  ColumnCode columns;  // as they are written
  int qs = 1;          // tables of a class: 2 with a trellis
  int precision = FittedTable::kDefaultPrecision;
  int cut = 0;          // of the Gaussian tables
  bool escape = false;  // whether they have escapes
  int escape_parameter = 0;
  std::vector<SymbolTable> tables;               // of class c and q: c * qs + q
  std::vector<std::optional<TableCode>> fitted;  // of the same; else a Gaussian
  double bits = 0;  // of integers, classes and tables, without states and tiles

  bool any_fitted() const;
  bool any_escape() const;
};

// One class, or the best classes there are. The tensor has integers.
CodingModel fit_pooled(const QuantizedTensor& tensor, ThreadPool& pool);
CodingModel fit_best(const QuantizedTensor& tensor, ThreadPool& pool);
// One of the two. `like`: of nearly the same integers: then its classes are kept, and the tables
// alone are fitted, in a quarter of the time.
CodingModel fit_model(const QuantizedTensor& tensor, Coder coder, ThreadPool& pool,
                      const CodingModel* like = nullptr);

// For other column scales of the same integers.
void refit_columns(const QuantizedTensor& tensor, CodingModel& model);

void write_model(HeadWriter& out, const CodingModel& model);

}  // namespace watersic
