// The full figures.
#pragma once

#include "report/charts.h"

namespace watersic::report {

// What the tensors of a run would take in 16 bits, with the kept ones, in bytes.
double sixteen_bit_bytes(const Run& run);

Html runs_table(const Study& study);         // with the evaluations of the first bench
Html evaluations_table(const Study& study);  // empty where there are none
Html kl_tables(const Study& study, Absences& absent);
Html tasks_table(const Study& study, Absences& absent);
Html subjects_table(const Study& study);  // of benchmarks that have some; empty where none has
Html layers_table(const Run& run);
Html outliers_table(const Run& run);  // empty where there are none
Html options_list(const Run& run);

}  // namespace watersic::report
