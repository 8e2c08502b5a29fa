// What one does with files of models: score, inspect, verify, export, train.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "call.h"
#include "checks.h"
#include "module.h"
#include "watersic/evaluate.h"
#include "watersic/file.h"
#include "watersic/finetune.h"
#include "watersic/model.h"
#include "watersic/tasks.h"

namespace watersic::python {
namespace {

using Path = std::filesystem::path;

std::string evaluate_text(const Path& model, const Path& text, const std::string& convention,
                          int64_t context, const std::optional<Path>& reference,
                          const std::string& weights, bool wikitext, int64_t threads,
                          nb::object progress) {
  const EvaluateOptions options{.convention = from_name<Convention>(convention),
                                .context = none_or_more("context", context),
                                .reference = reference.value_or(Path()),
                                .weights = from_name<WeightFormat>(weights),
                                .wikitext = wikitext,
                                .threads = thread_count(threads)};
  Call call(std::move(progress));
  return call.run([&] { return to_json(evaluate(model, text, options, call.progress())); });
}

// The figures, and the answers question by question as CSV.
std::pair<std::string, std::string> answer_task(const Path& model, const std::string& task,
                                                const Path& data, int64_t shots,
                                                const std::optional<Path>& examples, int64_t limit,
                                                bool bos, const std::string& weights,
                                                const std::optional<Path>& reference,
                                                int64_t threads, nb::object progress) {
  const TaskOptions options{.task = from_name<Task>(task),
                            .data = data,
                            .shots = in_range("shots", shots, 0, 1000),
                            .examples = examples.value_or(Path()),
                            .limit = none_or_more("limit", limit),
                            .bos = bos,
                            .weights = from_name<WeightFormat>(weights),
                            .reference = reference.value_or(Path()),
                            .threads = thread_count(threads)};
  Call call(std::move(progress));
  return call.run([&] {
    const TaskResult result = run_task(model, options, call.progress());
    return std::pair(to_json(result), to_csv(result.answers, result.has_reference));
  });
}

void export_model(const Path& model, const Path& output, const std::string& to,
                  const std::string& dtype, const std::string& pre, nb::object progress) {
  const auto type = from_name<ExportType>(dtype);
  if (to != "gguf" && to != "safetensors")
    throw Error("to: expected safetensors or gguf, found '" + to + "'");
  if (to != "gguf" && !pre.empty()) throw Error("pre: is for gguf only");
  Call call(std::move(progress));
  call.run([&] {
    if (to == "gguf") {
      export_gguf(model, output, type, pre, call.progress());
    } else {
      export_safetensors(model, output, type, call.progress());
    }
    return true;
  });
}

std::string train_scales(const Path& input, const Path& output, const Path& reference,
                         const std::string& calibration, std::optional<int64_t> samples,
                         std::optional<int64_t> sequence_length, std::optional<int64_t> held_out,
                         std::optional<int64_t> epochs, std::optional<int64_t> batch,
                         std::optional<double> learning_rate,
                         std::optional<double> final_learning_rate, uint64_t seed, int64_t threads,
                         nb::object progress) {
  FinetuneOptions options{.reference = reference,
                          .learning_rate = learning_rate,
                          .final_learning_rate = final_learning_rate,
                          .seed = seed,
                          .threads = thread_count(threads)};
  set_calibration(options.calibration, calibration);
  set_count(options.calibration.samples, "samples", samples);
  set_count(options.calibration.sequence_length, "sequence_length", sequence_length);
  set_count(options.held_out, "held_out", held_out);
  set_count(options.epochs, "epochs", epochs);
  set_count(options.batch, "batch", batch);
  Call call(std::move(progress));
  return call.run([&] { return to_json(finetune(input, output, options, call.progress())); });
}

std::string inspect_file(const Path& file) {
  const nb::gil_scoped_release released;
  return to_json(inspect(file));
}

}  // namespace

void add_files(nb::module_& m) {
  m.def("evaluate", &evaluate_text, nb::arg("model"), nb::arg("text"), nb::arg("convention"),
        nb::arg("context"), nb::arg("reference").none(), nb::arg("weights"), nb::arg("wikitext"),
        nb::arg("threads"), nb::arg("progress").none());
  m.def("run_task", &answer_task, nb::arg("model"), nb::arg("task"), nb::arg("data"),
        nb::arg("shots"), nb::arg("examples").none(), nb::arg("limit"), nb::arg("bos"),
        nb::arg("weights"), nb::arg("reference").none(), nb::arg("threads"),
        nb::arg("progress").none());
  m.def("export", &export_model, nb::arg("model"), nb::arg("output"), nb::arg("to"),
        nb::arg("dtype"), nb::arg("pre"), nb::arg("progress").none());
  m.def("finetune", &train_scales, nb::arg("input"), nb::arg("output"), nb::arg("reference"),
        nb::arg("calibration"), nb::arg("samples").none(), nb::arg("sequence_length").none(),
        nb::arg("held_out").none(), nb::arg("epochs").none(), nb::arg("batch").none(),
        nb::arg("learning_rate").none(), nb::arg("final_learning_rate").none(), nb::arg("seed"),
        nb::arg("threads"), nb::arg("progress").none());
  m.def("check_writable", &check_writable, nb::arg("path"));
  m.def("write_file", &write_file, nb::arg("path"), nb::arg("text"));
  m.def("inspect", &inspect_file, nb::arg("file"));
  m.def("verify", &verify, nb::arg("file"), nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace watersic::python
