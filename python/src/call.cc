#include "call.h"

namespace watersic::python {

bool Call::tell(const ProgressEvent* event) {
  if (error_) return false;
  const nb::gil_scoped_acquire acquired;
  try {
    // Runs the handlers of signals that have come; those of the main thread only.
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (event != nullptr && !progress_.is_none()) progress_(*event);
  } catch (nb::python_error& e) {
    error_.emplace(std::move(e));
    return false;
  }
  return true;
}

ProgressFn Call::progress_until_stopped() {
  return [this](const ProgressEvent& event) { tell(&event); };
}

StopFn Call::stop() {
  return [this] { return !tell(nullptr); };
}

ProgressFn Call::progress() {
  return [this](const ProgressEvent& event) {
    if (!tell(&event)) throw Ended{};
  };
}

void Call::raise_pending(const char* note) {
  if (!error_) return;
  nb::python_error error = std::move(*error_);
  error_.reset();
  if (*note != '\0' && nb::hasattr(error.value(), "add_note"))  // Python 3.11
    error.value().attr("add_note")(note);
  throw error;
}

}  // namespace watersic::python
