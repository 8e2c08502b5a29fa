// How much memory there is, and how much the process has used at most.
#pragma once

#include <cstdint>

namespace watersic {

// Resident bytes at most since the start or the last reset; 0 where the system does not tell.
int64_t peak_memory();
// Where the system can't, the peak stays that since the start.
void reset_peak_memory();

// Of the machine, in bytes; 0 where the system does not tell.
int64_t physical_memory();

}  // namespace watersic
