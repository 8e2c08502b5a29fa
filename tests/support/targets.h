// Every instruction set that the machine has, one after the other.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>

namespace watersic {

// Calls body() with each target forced.
template <class Body>
void for_each_target(const Body& body) {
  hwy::SetSupportedTargetsForTest(0);  // or the list below is of a target that is still forced
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace watersic
