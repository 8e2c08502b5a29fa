// How a sequence of numbers stands in the head of a tensor.
#pragma once

namespace watersic {

enum class SequenceKind {
  kConstant = 0,
  kExpGolomb = 1,
  kGaussian = 2,  // a sampled Gaussian's table
  kFitted = 3,    // a fitted table
};

inline constexpr int kSequenceEscapeParameter = 2;

}  // namespace watersic
