// A model's tensors for a writer: checked against the range of its type, and of those with a row
// for each token only a part in memory at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "model/config.h"
#include "model/weights.h"
#include "watersic/matrix.h"

namespace watersic {

// The largest magnitude that is rounded to a half that is finite.
inline constexpr float kHalfMax = 65519.996F;

// Gives all rows of `tensor` to `write`, in order, some at a time. Throws Error, naming the tensor,
// where a magnitude is above `largest`, what type `type` holds.
void for_all_rows(const WeightSource& source, const ModelTensor& tensor, float largest,
                  const char* type, const std::function<void(const Matrix<float>&)>& write);

}  // namespace watersic
