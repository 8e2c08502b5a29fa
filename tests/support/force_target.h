// Instruction sets (Highway's targets), forced.
#pragma once

#include <hwy/highway.h>

#include <cstdint>

namespace watersic {

// From now on what a machine of that target runs: of what is built for it the code for it, of the
// rest the best code below. 0: what this machine has.
inline void force_target(int64_t target) {
  hwy::SetSupportedTargetsForTest(0);
  if (target != 0) hwy::SetSupportedTargetsForTest(hwy::SupportedTargets() & -target);
}

}  // namespace watersic
