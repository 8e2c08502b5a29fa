// The charts of the page. Each is left out where the files do not hold its data, and says so: a
// chart is never shown empty.
#pragma once

#include <string>
#include <vector>

#include "report/html.h"
#include "report/plot.h"
#include "report/study.h"

namespace watersic::report {

// What is not on the page and why, a line each.
using Absences = std::vector<std::string>;

// A chart with its title and what it shows.
Html figure(const std::string& title, const std::string& caption, const Html& chart);

// For each text KL against bits and against file size, perplexity against bits, and bits per byte
// against file size (where an evaluation lacks them, perplexity); the gap by kind of layer.
Html curve_charts(const Study& study, Absences& absent);

// Percentiles of the tokens' KL; empty where no evaluation holds them.
Html token_chart(const Study& study);

// Of one run, in its series' colour.
Html layer_charts(const Run& run, size_t colour, Absences& absent);   // bits, gap, distortion
Html spread_charts(const Run& run, size_t colour, Absences& absent);  // columns' rates, rescalers
Html course_charts(const Run& run, Absences& absent);                 // errors, mixing by block
Html stage_charts(const Run& run, size_t colour, Absences& absent);   // time, memory

}  // namespace watersic::report
