// How the integers are coded, as the head of a tensor tells: the mirror of enc_model.h.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "coding/common_classes.h"
#include "coding/common_tensor.h"
#include "coding/dec_bits.h"

namespace watersic {

struct CodingHead {
  Classes classes;
  int qs = 1;  // tables of a class: 2 with a trellis
  int precision = 0, escape_parameter = 0;
  bool escape = false;              // whether any table has escapes
  std::vector<SymbolTable> tables;  // of class c and q: c * qs + q; empty for classes without use

  const SymbolTable& table(int c, int q) const {
    return tables[static_cast<size_t>(c) * static_cast<size_t>(qs) + static_cast<size_t>(q)];
  }
};

// `tensor`: what read_side gave. Throws Error.
CodingHead read_model(BitReader& in, const QuantizedTensor& tensor, const std::string& name);

}  // namespace watersic
