#include "arrays.h"

#include <bit>

namespace watersic::python {
namespace {

struct Bfloat16 {
  uint16_t bits;
  explicit operator double() const {
    return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
  }
};

template <class T, class From>
Matrix<T> copied(const AnyArray& array) {
  const auto rows = static_cast<int64_t>(array.shape(0)),
             cols = static_cast<int64_t>(array.shape(1));
  const auto* data = static_cast<const From*>(array.data());
  Matrix<T> out(rows, cols);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j)
      out(i, j) =
          static_cast<T>(static_cast<double>(data[i * array.stride(0) + j * array.stride(1)]));
  return out;
}

}  // namespace

template <class T>
Matrix<T> to_matrix(const AnyArray& array, const char* name) {
  if (array.ndim() != 2) {
    throw nb::value_error((std::string(name) + ": expected an array of 2 dimensions, found " +
                           std::to_string(array.ndim()))
                              .c_str());
  }
  const nb::dlpack::dtype type = array.dtype();
  const auto is = [&](nb::dlpack::dtype_code code, int bits) {
    return type.code == static_cast<uint8_t>(code) && type.bits == bits && type.lanes == 1;
  };
  using Code = nb::dlpack::dtype_code;
  if (is(Code::Float, 32)) return copied<T, float>(array);
  if (is(Code::Float, 64)) return copied<T, double>(array);
  if (is(Code::Float, 16)) return copied<T, _Float16>(array);
  if (is(Code::Bfloat, 16)) return copied<T, Bfloat16>(array);
  throw nb::type_error((std::string(name) + ": expected float16, bfloat16, float32 or float64, " +
                        "found another type of elements")
                           .c_str());
}
template Matrix<float> to_matrix<float>(const AnyArray&, const char*);
template Matrix<double> to_matrix<double>(const AnyArray&, const char*);

FloatArray to_array(Matrix<float> matrix) {
  auto* held = new Matrix<float>(std::move(matrix));
  nb::capsule owner(held, [](void* p) noexcept { delete static_cast<Matrix<float>*>(p); });
  return FloatArray(held->data(),
                    {static_cast<size_t>(held->rows()), static_cast<size_t>(held->cols())}, owner);
}

}  // namespace watersic::python
