// How much memory there is, and how much the process has used at most.
#pragma once

#include <cstdint>
#include <vector>

namespace watersic {

// Resident bytes at most since the start or the last reset; 0 where the system does not tell.
int64_t peak_memory();
// Where the system can't, the peak stays that since the start.
void reset_peak_memory();

template <class T>
int64_t bytes_of(const std::vector<T>& values) {
  return static_cast<int64_t>(values.size() * sizeof(T));
}

// Of the machine, in bytes; 0 where the system does not tell.
int64_t physical_memory();

}  // namespace watersic
