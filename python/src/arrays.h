// Arrays of Python as matrices, and the other way.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "watersic/matrix.h"

namespace watersic::python {

namespace nb = nanobind;

// What has the buffer protocol or DLPack, in the memory of the CPU; any strides.
using AnyArray = nb::ndarray<nb::ro, nb::device::cpu>;
using FloatArray = nb::ndarray<nb::numpy, float>;

// A copy of a two-dimensional array of float16, bfloat16, float32 or float64. Raises TypeError,
// calling the array `name`, for another type, ValueError for another number of dimensions.
template <class T>
Matrix<T> to_matrix(const AnyArray& array, const char* name);

// A row for each item; float32. The array owns the memory.
FloatArray to_array(Matrix<float> matrix);
// Of one dimension.
template <class T>
nb::ndarray<nb::numpy, T> to_array(std::vector<T> values) {
  auto* held = new std::vector<T>(std::move(values));
  nb::capsule owner(held, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::ndarray<nb::numpy, T>(held->data(), {held->size()}, owner);
}

}  // namespace watersic::python
