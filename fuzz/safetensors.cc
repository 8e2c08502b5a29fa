// The head of a safetensors file (io/safetensors.h).
#include "io/safetensors.h"

#include <cstring>

#include "fuzz.h"

namespace watersic {

std::vector<std::string> fuzz_seeds() {
  return {written([](const std::string& path) {
    SafetensorsWriter writer(
        path,
        {{"a", "F32", {2, 3}}, {"b", "BF16", {4}}, {"c", "F16", {0, 3}}, {"d", "I64", {1, 1, 2}}},
        {{"format", "pt"}});
    writer.write(std::vector<float>{1, 2, 3, 4, 5, 6});
    writer.write(std::vector<float>{1, 2, 3, 4});
    writer.write_bytes(std::vector<std::byte>(16));
    writer.commit();
  })};
}

void fuzz_input(const std::string& input) {
  const SafetensorsFile file(fuzz_file(input));
  for (const auto& entry : file.entries()) {
    file.bytes(entry);
    try {
      const auto [rows, cols] = file.matrix_shape(entry);
      if (rows > 0 && cols > 0) file.read_rows(entry, std::vector<int32_t>{0});
      file.read(entry);
    } catch (const Error&) {
      // Another of its tensors may be read.
    }
  }
}

// Half of them have a head that is JSON, and of the length that is said.
std::string fuzz_mutate(const std::string& input, Rng& rng) {
  uint64_t length = 0;
  if (input.size() >= 8) std::memcpy(&length, input.data(), 8);
  if (input.size() < 8 || length > input.size() - 8 || rng.below(2) == 0)
    return mutate_bytes(input, rng);
  const std::string head = mutate_json(input.substr(8, length), rng);
  const uint64_t said = head.size();
  return std::string(reinterpret_cast<const char*>(&said), 8) + head + input.substr(8 + length);
}

}  // namespace watersic
