// A table as the decoder uses it: slot to symbol, frequency and start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coding/common_table.h"
#include "coding/dec_bits.h"

namespace watersic {

TableCode read_table(BitReader& in, const std::string& name);

// What a slot of 2^precision says. offset = slot - start of its symbol.
struct Slot {
  uint16_t symbol = 0, frequency_minus_1 = 0, offset = 0;
};
// Throws Error where the code describes no table.
std::vector<Slot> expand_slots(const TableCode& code, const std::string& name);

}  // namespace watersic
