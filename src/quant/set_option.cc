// Options by name, as overrides of single layers give them.
#include <fmt/format.h>

#include <charconv>
#include <functional>
#include <map>

#include "watersic/error.h"
#include "watersic/options.h"

namespace watersic {
namespace {

using Setter = std::function<void(QuantizerOptions&, const std::string&)>;

[[noreturn]] void refuse(const std::string& expected, const std::string& value) {
  throw Error(fmt::format("expected {}, found '{}'", expected, value));
}

template <class T>
T number(const std::string& value) {
  T out{};
  const char* end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, out);
  if (error != std::errc() || rest != end) refuse("a number", value);
  return out;
}

bool flag(const std::string& value) {
  if (value == "on") return true;
  if (value == "off") return false;
  refuse("on or off", value);
}

template <class T>
T one_of(const std::map<std::string, T>& words, const std::string& value) {
  const auto found = words.find(value);
  if (found != words.end()) return found->second;
  std::string known;
  for (const auto& [word, meaning] : words) known += (known.empty() ? "" : " or ") + word;
  refuse(known, value);
}

const std::map<std::string, Setter>& setters() {
  static const std::map<std::string, Setter> all{
      {"activation-order", [](auto& o, const auto& v) { o.activation_order = flag(v); }},
      {"bits", [](auto& o, const auto& v) { o.bits = number<double>(v); }},
      {"coder",
       [](auto& o, const auto& v) {
         o.coder = one_of<Coder>({{"pooled", Coder::kPooled}, {"classes", Coder::kClasses}}, v);
       }},
      {"damping", [](auto& o, const auto& v) { o.damping = number<double>(v); }},
      {"dead-threshold", [](auto& o, const auto& v) { o.dead_threshold = number<double>(v); }},
      {"group-size", [](auto& o, const auto& v) { o.group_size = number<int64_t>(v); }},
      {"lmmse", [](auto& o, const auto& v) { o.lmmse = flag(v); }},
      {"method", [](auto& o, const auto& v) { o.method = method_from_name(v); }},
      {"order",
       [](auto& o, const auto& v) {
         o.order = one_of<ColumnOrder>({{"native", ColumnOrder::kNative},
                                        {"falling", ColumnOrder::kFalling},
                                        {"rising", ColumnOrder::kRising}},
                                       v);
       }},
      {"rescalers", [](auto& o, const auto& v) { o.rescalers = flag(v); }},
      {"rotate", [](auto& o, const auto& v) { o.rotate = flag(v); }},
      {"shrinkage", [](auto& o, const auto& v) { o.shrinkage = number<double>(v); }},
      {"trellis", [](auto& o, const auto& v) { o.trellis = number<int>(v); }},
  };
  return all;
}

}  // namespace

void set_option(QuantizerOptions& options, const std::string& name, const std::string& value) {
  const auto found = setters().find(name);
  if (found == setters().end()) {
    std::string known;
    for (const auto& [word, setter] : setters()) known += (known.empty() ? "" : ", ") + word;
    throw Error(fmt::format("expected one of {}, found '{}'", known, name));
  }
  try {
    found->second(options, value);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}", name, e.what()));
  }
}

}  // namespace watersic
