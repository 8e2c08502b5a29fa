// The iterator over a text that is being written.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "module.h"
#include "text_stream.h"

namespace watersic::python {
namespace {

// What the thread wrote so far is waited for without the GIL, with an ear for Ctrl-C.
std::string next_piece(TextStream& stream) {
  std::string piece;
  while (true) {
    TextStream::Next next;
    {
      const nb::gil_scoped_release released;
      next = stream.next(piece);
    }
    if (next == TextStream::Next::kPiece) return piece;
    if (next == TextStream::Next::kEnd) throw nb::stop_iteration();
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }
}

void close(TextStream& stream) {
  const nb::gil_scoped_release released;
  stream.close();
}

}  // namespace

void add_text_stream(nb::module_& m) {
  nb::class_<GenerateResult>(m, "GenerateResult", "What came of a text.")
      .def_ro("prompt", &GenerateResult::prompt, "Token ids, as the model saw them.")
      .def_ro("ids", &GenerateResult::ids,
              "Token ids that were written, without the one that ended the text.")
      .def_ro("text", &GenerateResult::text, "The text of `ids`.")
      .def_ro("ended", &GenerateResult::ended,
              "By the model; else by max_tokens, or by who closed it.")
      .def_ro("prompt_seconds", &GenerateResult::prompt_seconds)
      .def_ro("seconds", &GenerateResult::seconds, "Of what was written.");
  nb::class_<TextStream>(
      m, "TextStream",
      "Pieces of a text, str, while a thread of its own writes it. close() ends the writing at the "
      "next token; so does leaving a `with`, and losing the object.")
      .def("__iter__", [](nb::handle self) { return nb::borrow(self); })
      .def("__next__", &next_piece)
      .def("close", &close)
      .def("__enter__", [](nb::handle self) { return nb::borrow(self); })
      .def("__exit__", [](TextStream& self, nb::args) { close(self); })
      .def_prop_ro("result", &TextStream::result, "A GenerateResult once the text has ended.");
  m.def("close_all_streams", &TextStream::close_all);
}

}  // namespace watersic::python
