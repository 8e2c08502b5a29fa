// Reading a fitted table.
#pragma once

#include <cstdint>
#include <string>

#include "coding/common_table.h"
#include "coding/dec_bits.h"

namespace watersic {

TableCode read_table(BitReader& in, const std::string& name);

}  // namespace watersic
