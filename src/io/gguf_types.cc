#include "io/gguf_types.h"

#include <fmt/format.h>

#include <array>
#include <cassert>

namespace watersic {
namespace {

struct Type {
  const char* name;
  int64_t values = 0;  // in a block; 0: not read
  uint64_t bytes = 0;
};

// By number. What has no sizes is not read: integers, codes by a grid (IQ1 to IQ3), what ggml has
// given up (Q4_2, Q4_0_4_4, ...), and what no file of weights has (Q8_K).
constexpr std::array<Type, 43> kTypes = {{
    {"F32", 1, 4},
    {"F16", 1, 2},
    {"Q4_0", 32, 18},
    {"Q4_1", 32, 20},
    {"Q4_2"},
    {"Q4_3"},
    {"Q5_0", 32, 22},
    {"Q5_1", 32, 24},
    {"Q8_0", 32, 34},
    {"Q8_1", 32, 36},
    {"Q2_K", 256, 84},
    {"Q3_K", 256, 110},
    {"Q4_K", 256, 144},
    {"Q5_K", 256, 176},
    {"Q6_K", 256, 210},
    {"Q8_K"},
    {"IQ2_XXS"},
    {"IQ2_XS"},
    {"IQ3_XXS"},
    {"IQ1_S"},
    {"IQ4_NL", 32, 18},
    {"IQ3_S"},
    {"IQ2_S"},
    {"IQ4_XS", 256, 136},
    {"I8"},
    {"I16"},
    {"I32"},
    {"I64"},
    {"F64"},
    {"IQ1_M"},
    {"BF16", 1, 2},
    {"Q4_0_4_4"},
    {"Q4_0_4_8"},
    {"Q4_0_8_8"},
    {"TQ1_0", 256, 54},
    {"TQ2_0", 256, 66},
    {"IQ4_NL_4_4"},
    {"IQ4_NL_4_8"},
    {"IQ4_NL_8_8"},
    {"MXFP4", 32, 17},
    {"NVFP4"},
    {"Q1_0"},
    {"Q2_0"},
}};

const Type* find(GgufType type) {
  const auto number = static_cast<uint32_t>(type);
  return number < kTypes.size() ? &kTypes[number] : nullptr;
}

const Type& readable(GgufType type) {
  assert(is_readable(type));
  return *find(type);
}

}  // namespace

std::string to_string(GgufType type) {
  const Type* found = find(type);
  return found != nullptr ? found->name : fmt::format("the type {}", static_cast<uint32_t>(type));
}

bool is_readable(GgufType type) {
  const Type* found = find(type);
  return found != nullptr && found->values > 0;
}

bool is_quantized(GgufType type) { return readable(type).values > 1; }

int64_t block_values(GgufType type) { return readable(type).values; }

uint64_t block_bytes(GgufType type) { return readable(type).bytes; }

uint64_t row_bytes(GgufType type, int64_t cols) {
  return static_cast<uint64_t>(cols / block_values(type)) * block_bytes(type);
}

}  // namespace watersic
