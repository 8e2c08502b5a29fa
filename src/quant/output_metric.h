// The metric of a layer's outputs, factored for rows that are quantized group by group
// (docs/algorithm.md, "Two-sided").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

// With groups b of consecutive rows and errors e of the outputs,
//   e^T G e = sum_b |U_bb^T (e_b + sum over groups b' before b of feedback[b, b'] e_b')|^2,
// so that a group can make good what those before it have done. The groups' U_bb U_bb^T is taken by
// its diagonal: root^2, normalised to a geometric mean of 1.
struct OutputFactor {
  int64_t group_rows = 0;    // but for the last group, which may be shorter
  std::vector<double> root;  // of each row
  double scale = 1;          // what the roots were divided by
  Matrix<float> feedback;    // a x a, zero but for the columns of groups before the row's; or empty

  bool empty() const { return root.empty(); }
};

// G: a x a, symmetric, positive semidefinite, or its diagonal, 1 x a: then there is nothing to feed
// back, and all rows are one group. Damped by a tenth of its mean diagonal: what is fed back are
// errors, and at low rates those are not small. Throws Error where it can't be factored still.
// order: the rows of G in the order in which they are quantized. with_feedback: or the roots alone.
OutputFactor factor_outputs(ThreadPool& pool, MatrixView<const double> G, int64_t group_rows,
                            std::span<const int64_t> order, bool with_feedback = true);

}  // namespace watersic
