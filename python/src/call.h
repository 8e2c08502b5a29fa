// Long work: done without the GIL, it tells Python how far it is and minds Ctrl-C.
#pragma once

#include <nanobind/nanobind.h>

#include <functional>
#include <optional>
#include <utility>

#include "watersic/progress.h"
#include "watersic/quantize.h"

namespace watersic::python {

namespace nb = nanobind;

class Call {
 public:
  // `progress`: called with each ProgressEvent; None: nobody is. What it raises ends the work.
  explicit Call(nb::object progress) : progress_(std::move(progress)) {}

  // Of work that stops by a StopFn: it goes on to where it can be resumed.
  ProgressFn progress_until_stopped();
  StopFn stop();
  // Of other work: it is ended where it is.
  ProgressFn progress();

  // Raises what the callback raised, or what a signal's handler did; KeyboardInterrupt by default.
  template <class Work>
  auto run(const Work& work) {
    try {
      auto result = without_gil(work);
      raise_pending("");
      return result;
    } catch (const Ended&) {
      raise_pending("");
      throw;
    } catch (const Interrupted& e) {
      raise_pending(e.what());
      throw;
    }
  }

 private:
  struct Ended {};
  template <class Work>
  static auto without_gil(const Work& work) {
    const nb::gil_scoped_release released;
    return work();
  }
  // False once something was raised.
  bool tell(const ProgressEvent* event);
  void raise_pending(const char* note);

  nb::object progress_;
  std::optional<nb::python_error> error_;
};

}  // namespace watersic::python
