// The whole page.
#pragma once

#include <string>
#include <string_view>

#include "report/study.h"

namespace watersic::report {

// One HTML file that needs no other: style sheet, script and charts are in it. The same study gives
// the same bytes.
std::string page(const Study& study);

std::string_view style_sheet();
// Tooltips, sorting, choice of a run. Without it the page still shows everything.
std::string_view script();

}  // namespace watersic::report
