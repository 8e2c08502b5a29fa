// What watersic._core is made of: each part puts its functions and classes into the module.
#pragma once

#include <nanobind/nanobind.h>

namespace watersic::python {

namespace nb = nanobind;

void add_quantize(nb::module_& m);
void add_files(nb::module_& m);
void add_model(nb::module_& m);
void add_text_stream(nb::module_& m);

}  // namespace watersic::python
