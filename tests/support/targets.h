// Every instruction set that the machine has, one after the other.
#pragma once

#include <gtest/gtest.h>

#include "support/force_target.h"

namespace watersic {

// Calls body() with each target forced.
template <class Body>
void for_each_target(const Body& body) {
  force_target(0);  // or the list below is of a target that is still forced
  for (int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    force_target(target);
    SCOPED_TRACE(hwy::TargetName(target));
    body();
  }
  force_target(0);
}

}  // namespace watersic
