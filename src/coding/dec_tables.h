// The tables as the inner loop reads them: slot to integer, frequency and offset.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "coding/common_classes.h"
#include "coding/dec_model.h"

namespace watersic {

// What a slot of 2^precision says. offset = slot - start of its symbol.
struct Slot {
  int32_t value = 0;  // k
  uint16_t frequency_minus_1 = 0, offset = 0;
};

// All tables in one array, 2^precision entries each, table c * qs + q after table c * qs + q - 1.
//
// Where alphabet and precision P allow (up to 256 integers at P = 12, 64 at 13: nearly always) a
// slot is one 32-bit word, so that a table stays in the cache and one gather serves a register of
// lanes. From the lowest bit: P bits of offset in the symbol, P bits of frequency - 1, the integer
// less base(). An escape gives marker() or marker() + 1, the even or the odd one, which no symbol
// reaches.
class DecoderTables {
 public:
  explicit DecoderTables(const CodingHead& head);

  const CodingHead& head() const { return *head_; }
  const Classes& classes() const { return head_->classes; }
  int qs() const { return head_->qs; }
  int precision() const { return head_->precision; }
  bool packed() const { return packed_; }
  const uint32_t* entries() const { return entries_.data(); }
  const Slot* slots() const { return slots_.data(); }
  int32_t base() const { return base_; }
  int32_t marker() const { return marker_; }
  // Where the tables of class c begin. With classes of rows c * qs << precision.
  uint32_t offset(int c) const { return offsets_[static_cast<size_t>(c)]; }

 private:
  const CodingHead* head_;
  bool packed_ = true;
  int32_t base_ = 0, marker_ = 0;
  std::vector<uint32_t> offsets_;
  std::vector<uint32_t> entries_;  // where packed
  std::vector<Slot> slots_;        // where not
};

}  // namespace watersic
