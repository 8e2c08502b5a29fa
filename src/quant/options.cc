#include "watersic/options.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "base/trellis.h"
#include "watersic/error.h"

namespace watersic {
namespace {

struct NamedMethod {
  Method method;
  const char* name;
};
constexpr std::array<NamedMethod, 5> kMethods{{{Method::kWatersic, "watersic"},
                                               {Method::kHuffmanGptq, "huffman-gptq"},
                                               {Method::kHuffmanRtn, "huffman-rtn"},
                                               {Method::kGptq, "gptq"},
                                               {Method::kRtn, "rtn"}}};

}  // namespace

Method method_from_name(const std::string& name) {
  std::string known;
  for (const auto& m : kMethods) {
    if (name == m.name) return m.method;
    known += (known.empty() ? "" : ", ") + std::string(m.name);
  }
  throw Error(fmt::format("method: expected one of {}, found '{}'", known, name));
}

std::string method_name(Method method) {
  for (const auto& m : kMethods)
    if (m.method == method) return m.name;
  return "unknown";
}

void check_options(const QuantizerOptions& options) {
  const Method method = options.method;
  const bool grid = method == Method::kGptq || method == Method::kRtn;
  const bool rtn = method == Method::kRtn || method == Method::kHuffmanRtn;
  const auto refuse = [&](const char* option) {
    throw Error(fmt::format("{} has no meaning for method {}", option, method_name(method)));
  };
  if (!(options.bits >= 0.05 && options.bits <= 16)) {
    throw Error(fmt::format("bits: expected 0.05 to 16, found {}", options.bits));
  }
  if (grid && (options.bits != std::floor(options.bits) || options.bits < 1 || options.bits > 8)) {
    throw Error(
        fmt::format("bits: method {} takes the width of an integer grid: expected 1 to 8, found {}",
                    method_name(method), options.bits));
  }
  if (grid && options.rate != RateTarget::kFile) refuse("a paper rate");
  if (options.group_size < 0)
    throw Error(fmt::format("group size: expected 0 or more, found {}", options.group_size));
  if (options.group_size > 0 && !grid) refuse("a group size");
  if (options.activation_order && (rtn || method == Method::kWatersic)) refuse("activation order");
  if (options.damping && rtn) refuse("damping");
  if (options.damping && !(*options.damping >= 0 && *options.damping <= 1e6)) {
    throw Error(fmt::format("damping: expected 0 or more, found {}", *options.damping));
  }
  if (options.dead_threshold && rtn) refuse("a dead-feature threshold");
  if (options.dead_threshold && !(*options.dead_threshold >= 0 && *options.dead_threshold <= 1)) {
    throw Error(
        fmt::format("dead-feature threshold: expected 0 to 1, found {}", *options.dead_threshold));
  }
  if (options.trellis && grid) refuse("a trellis");
  if (options.trellis && *options.trellis != 0)
    Trellis::of(*options.trellis);  // refuses what is none
  if (options.order != ColumnOrder::kNative && rtn) refuse("an order of columns");
  if (options.order != ColumnOrder::kNative && options.activation_order) {
    throw Error("activation order is an order of columns itself: give one of the two");
  }
  if (options.shrinkage && method != Method::kWatersic) refuse("shrinkage");
  if (options.shrinkage && !(*options.shrinkage >= 0 && *options.shrinkage <= 1)) {
    throw Error(fmt::format("shrinkage: expected 0 to 1, found {}", *options.shrinkage));
  }
  if (options.rotate && (rtn || method == Method::kWatersic)) refuse("a rotation");
  if (!options.rescalers && method != Method::kWatersic) refuse("--no-rescalers");
  if (options.lmmse && method != Method::kWatersic) refuse("LMMSE");
}

}  // namespace watersic
