// .npy (watersic/npy.h).
#include "watersic/npy.h"

#include "fuzz.h"

namespace watersic {

std::vector<std::string> fuzz_seeds() {
  const auto npy = [](auto value) {
    using T = decltype(value);
    Matrix<T> matrix(3, 5);
    for (auto& x : matrix.values()) x = value;
    return written([&](const std::string& path) { write_npy<T>(path, matrix); });
  };
  return {npy(1.5F), npy(-2.5)};
}

void fuzz_input(const std::string& input) { read_npy<float>(fuzz_file(input)); }

std::string fuzz_mutate(const std::string& input, Rng& rng) { return mutate_bytes(input, rng); }

}  // namespace watersic
