// Frequency tables as the file holds them: logarithms of the frequencies at evenly spaced knots.
//
// Logarithms, because a distribution that is smooth (ours are nearly Gaussian) then has small
// second differences, and because the loss depends on relative errors alone: a step of 1/8 bit
// costs 0.0005 bit a weight. Knots, because describing each of the 600 symbols of an 8-bit layer
// would cost more than it gains. Expanded with integers only, so that every machine has the same
// table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace watersic {

inline constexpr int64_t kMaxSymbols = 4096;   // with the escapes
inline constexpr int kMaxLevel = 17 * 64 - 1;  // a level is 64 log2 of a weight of 15 bits and more

// The integers base, base + 1, ... of a table are its symbols. Two more symbols, the escapes, stand
// for all other integers, the even and the odd ones (a trellis asks for the parity before the value
// is known); which one it is stands in a list beside the stream.
struct SymbolTable {
  int32_t base = 0;
  int64_t symbols = 1;  // without the escapes
  bool escape = false;
  std::vector<uint32_t> frequencies;  // of the symbols, then of the escapes; 0: absent

  bool holds(int32_t value) const { return value >= base && value < int64_t{base} + symbols; }
};

// What a symbol may stand for. Bounded, so that the decoder can mark escapes by integers beyond.
inline constexpr int32_t kMinSymbolValue = -(1 << 29), kMaxSymbolValue = (1 << 29) - 1;

// An escaped integer of known parity as a number: its distance from the symbols and its side.
uint64_t escape_code(const SymbolTable& table, int64_t value);
int64_t escape_value(const SymbolTable& table, bool odd, uint64_t code);

// The frequencies of symbols with these weights, of sum 2^precision: 0 where the weight is 0, else
// at least 1. Weights lie below 2^45. False if there are none or more than 2^precision.
bool share_slots(const std::vector<uint64_t>& weights, int precision,
                 std::vector<uint32_t>& frequencies);
// 2^15 2^(level/64), level in 0..kMaxLevel, made of integers.
uint64_t weight_of_level(int64_t level);

// A fitted table, as the file has it.
struct TableCode {
  int32_t base = 0;
  int64_t symbols = 1;
  bool escape = false;

  // The rest counts only where there are two symbols or more.
  int shift = 0;      // level = knot << shift, in 1/64 bit (0..6)
  int spacing = 0;    // log2 of the symbols from knot to knot (0..7)
  int order = 1;      // knots are predicted by the last one (1) or from the last two on a line (2)
  int parameter = 0;  // of the Exp-Golomb codes of the residuals (0..15)
  int64_t bias = 0;   // added to each prediction: a Gaussian's second difference is constant
  std::vector<int32_t> knots;  // knot_count() of them
  int32_t escape_knot = 0;     // of each escape

  int64_t alphabet() const { return symbols + (escape ? 2 : 0); }
  int64_t knot_count() const {
    return ((symbols - 1 + (int64_t{1} << spacing) - 1) >> spacing) + 1;
  }
  // What knot i is coded relative to; the first is coded as it is.
  int64_t prediction(int64_t i) const {
    const auto knot = [&](int64_t j) -> int64_t { return knots[static_cast<size_t>(j)]; };
    if (order == 1) return knot(i - 1) + bias;
    return i == 1 ? knot(0) : 2 * knot(i - 1) - knot(i - 2) + bias;
  }
};

// False where the code describes no table (levels out of range, no symbol present, more symbols
// than slots).
bool expand_table(const TableCode& code, int precision, SymbolTable& table);

}  // namespace watersic
