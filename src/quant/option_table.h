// The options of one layer, each in one row.
#pragma once

#include <string>
#include <vector>

#include "base/option_table.h"
#include "watersic/options.h"

namespace watersic {

struct QuantizerOption : Option<QuantizerOptions, Method, RateTarget, Coder, ColumnOrder, Layout> {
  bool (*applies)(Method) = nullptr;  // null: to all
  bool per_layer = true;              // layers of a model may differ in it
};
const std::vector<QuantizerOption>& quantizer_option_table();

// "name=value,...", as overrides of single layers have it.
struct Setting {
  std::string name, value;
};
std::vector<Setting> parse_settings(const std::string& text);
// Throws Error for what is no option of single layers.
void set_options(QuantizerOptions& options, const std::vector<Setting>& settings);

}  // namespace watersic
