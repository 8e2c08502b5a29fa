#include "module.h"

#include <nanobind/stl/string.h>

#include "watersic/error.h"
#include "watersic/progress.h"
#include "watersic/quantize.h"
#include "watersic/version.h"

NB_MODULE(_core, m) {
  namespace nb = nanobind;
  using namespace watersic;  // NOLINT: the macro is no place for a namespace
  m.doc() = "The C++ library (include/watersic). Use the functions of `watersic`.";
  m.attr("version") = kVersion;
  nb::exception<Error> error(m, "Error", PyExc_ValueError);
  error.doc() =
      "What the caller can mend: a bad file, option or shape. One sentence: where, what was "
      "expected, what was found.";
  nb::exception<Interrupted>(m, "Interrupted", error.ptr()).doc() =
      "A run that was stopped; what is finished stands in OUT.wsic.work, for resume=True.";
  nb::class_<ProgressEvent>(m, "ProgressEvent", "How far some work is.")
      .def_ro("stage", &ProgressEvent::stage, "What is done: 'calibrating', 'quantizing', ...")
      .def_ro("unit", &ProgressEvent::unit, "What is counted: 'blocks', 'tokens', ...")
      .def_ro("done", &ProgressEvent::done)
      .def_ro("total", &ProgressEvent::total, "0 where nothing is counted.")
      .def_ro("detail", &ProgressEvent::detail, "A line worth keeping; may be empty.");
  python::add_quantize(m);
  python::add_files(m);
  python::add_text_stream(m);
  python::add_model(m);
}
