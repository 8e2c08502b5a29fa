// The operators of rows in vectors (kernels/activations.h).
#pragma once

#include "model/operators.h"

namespace watersic {

const Operators& vector_operators();

}  // namespace watersic
