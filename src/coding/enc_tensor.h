// A quantized matrix to bytes: docs/format.md, "Coded tensor".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "coding/common_tensor.h"

namespace watersic {

// Which columns share a table, and how the matrix is cut. The defaults are what encode_tensor
// takes.
struct CodingPlan {
  int64_t tables = 1;
  std::vector<int32_t> table_of;  // of each live column; empty: all table 0
  // 0: chosen so that lanes and tiles cost little. segment_rows * group_columns <= 2^20; lanes is a
  // power of two up to 64.
  int64_t segment_rows = 0, group_columns = 0;
  int lanes = 0;
};

// The blob, the same at any number of threads. Throws Error where the tensor can't be written: a
// scale that is not finite, more than 2^32 weights.
std::vector<std::byte> encode_tensor(const QuantizedTensor& tensor, ThreadPool& pool);
std::vector<std::byte> encode_tensor(const QuantizedTensor& tensor, const CodingPlan& plan,
                                     ThreadPool& pool);

// What encode_tensor would spend on the integers (TensorBits::coded), within about 0.1%: the table
// is fitted, nothing is coded. In bits, over all of the matrix.
double estimate_coded_bits(const Matrix<int32_t>& codes);

// The empirical entropy of all integers as one source, in bits each; 0 where there are none.
double pooled_entropy(const Matrix<int32_t>& codes);

}  // namespace watersic
