// Every instruction set that the machine has, one after the other.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>

namespace watersic {

// Calls body() with each target forced. What is not built for one runs as scalar code.
template <class Body>
void for_each_target(const Body& body) {
  hwy::SetSupportedTargetsForTest(0);  // or the list below is of a target that is still forced
  for (int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace watersic
