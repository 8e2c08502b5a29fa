// How a linear layer is quantized: what `watersic layer` and `watersic quantize` share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "watersic/names.h"

namespace watersic {

enum class Method {
  kWatersic,     // a step for each column, successive interference cancellation, LMMSE, rescalers
  kHuffmanGptq,  // GPTQ with one step, unbounded integers, entropy-coded
  kHuffmanRtn,   // rounding with one step, entropy-coded
  kGptq,         // GPTQ on a clipped grid of 2^bits levels, a scale per row or group
  kRtn,          // rounding on the same grid
};
template <>
inline constexpr std::array names_of<Method>{"watersic", "huffman-gptq", "huffman-rtn", "gptq",
                                             "rtn"};

// What `bits` counts; everything is bits per weight, dead columns included (docs/algorithm.md).
enum class RateTarget {
  kFile,   // what the file spends on the tensor, side information included
  kPaper,  // the papers' count: pooled entropy + 16 bits for each row and column
};
template <>
inline constexpr std::array names_of<RateTarget>{"file", "paper"};

// How a quantized matrix is stored.
enum class Layout {
  kEntropy,   // entropy-coded: the fewest bits; to run it is unpacked into more
  kRunnable,  // a trellis of a fixed rate whose bits in the file are what products read
};
template <>
inline constexpr std::array names_of<Layout>{"entropy", "runnable"};

// How the integers are entropy-coded.
enum class Coder {
  kClasses,  // a table for each class of columns and rows of like spread
  kPooled,   // one table for the whole matrix
};
template <>
inline constexpr std::array names_of<Coder>{"classes", "pooled"};

// In which order the columns stand; the loop works from the last to the first.
enum class ColumnOrder {
  kNative,   // as they come (the gptq methods: first to last, as GPTQ)
  kFalling,  // by falling second moment: weak features first, and the strong ones mend their errors
  kRising,   // the reverse
};
template <>
inline constexpr std::array names_of<ColumnOrder>{"native", "falling", "rising"};

struct QuantizerOptions {
  Method method = Method::kWatersic;
  // Target rate in [0.05, 16]; for kGptq and kRtn the width of the integer grid, a whole number
  // 1-8.
  double bits = 2;
  RateTarget rate = RateTarget::kFile;
  // Added to the diagonal of S, times its mean. Default 1e-4 for watersic, 0.1 for the gptq
  // methods.
  std::optional<double> damping;
  // A feature with S_jj below this times the median of the diagonal is dead: its column is zero and
  // costs nothing. Default 1e-3 for watersic, 0 (only features never seen) for the gptq methods.
  std::optional<double> dead_threshold;
  bool rescalers = true;  // watersic: refit row and column scales to the integers
  // watersic: shrink each column's step as it is quantized. Off where left open: `shrinkage` does
  // the same good and less harm.
  std::optional<bool> lmmse;
  int64_t group_size = 0;  // gptq, rtn: columns that share a scale in a row; 0: the whole row
  bool activation_order = false;  // gptq methods: columns of large S_jj first
  // States of the trellis that a column is quantized along: 0 (none: each weight is rounded by
  // itself), 4, 8, 16, 32, 64, 128 or 256. Default 64 for watersic, 0 for the others; not for the
  // grid methods.
  std::optional<int> trellis;
  Coder coder = Coder::kClasses;
  Layout layout = Layout::kEntropy;  // watersic
  // Runnable layout: bits of the trellis's state, 8 to 16. More are nearer to the limit; each
  // doubles the time.
  std::optional<int> state_bits;
  ColumnOrder order = ColumnOrder::kNative;
  // watersic: a second damping, this times c^2 / mean(W^2), towards zero: what pays at low rates
  // (docs/algorithm.md, "Low rates"). Default 0.06; of a model in its principal basis 0.025.
  std::optional<double> shrinkage;
  bool rotate = false;  // gptq methods: a random rotation of the inputs, undone when decoded
  uint64_t seed = 1;    // picks the rows on which the rate is searched
  int threads = 0;      // 0: as many as the machine has
};

// An option as a program shows it to people.
struct OptionInfo {
  enum class Kind {
    kValue,
    kValues,    // any number of them, set one at a time
    kOff,       // takes on or off, and is off by default
    kOn,        // likewise, on
    kLeftOpen,  // likewise, decided by the library
  };
  Kind kind = Kind::kValue;
  std::string name;    // "dead-threshold"
  std::string values;  // what it takes: "X", "file|paper"
  std::string help;
};
// All that have names, in order; whatever the values of the argument.
std::vector<OptionInfo> describe_options(const QuantizerOptions& options);

// Sets one option by its name. Throws Error for a name or a value that is none.
void set_option(QuantizerOptions& options, const std::string& name, const std::string& value);

// Throws Error where an option has no meaning for the method, or is out of range.
void check_options(const QuantizerOptions& options);

}  // namespace watersic
