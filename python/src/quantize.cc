// One matrix, and a whole model.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "call.h"
#include "checks.h"
#include "module.h"
#include "watersic/layer.h"
#include "watersic/quantize.h"

namespace watersic::python {
namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;  // names and values, as text

bool is_one_of(const std::vector<OptionInfo>& options, const std::string& name) {
  for (const OptionInfo& option : options)
    if (option.name == name) return true;
  return false;
}

LayerOptions layer_options(const Settings& settings, int64_t threads) {
  LayerOptions options;
  for (const auto& [name, value] : settings) set_option(options, name, value);
  options.threads = thread_count(threads);
  return options;
}

LayerResult quantize_matrix(const AnyArray& W, const AnyArray& S,
                            const std::optional<AnyArray>& output_metric, const Settings& settings,
                            int64_t threads) {
  const LayerOptions options = layer_options(settings, threads);
  const auto weights = to_matrix<float>(W, "weights");
  const auto covariance = to_matrix<double>(S, "covariance");
  Matrix<double> metric;
  if (output_metric) metric = to_matrix<double>(*output_metric, "output metric");
  const nb::gil_scoped_release released;
  return quantize_layer(weights, covariance, options, metric);
}

// What the command line takes beside the tables of options.
struct Run {
  std::string calibration;
  std::optional<int64_t> samples, sequence_length;
  int64_t size = 0;    // bytes of the whole file; 0: by its bits
  int64_t memory = 0;  // bytes; 0: as many as it takes
  bool resume = false;
  int64_t threads = 0;
};

QuantizeOptions model_options(const Settings& settings, const Run& run) {
  QuantizeOptions options;
  for (const auto& [name, value] : settings) {
    if (is_one_of(describe_options(options.model), name)) {
      set_option(options.model, name, value);
    } else if (is_one_of(describe_options(static_cast<QuantizerOptions&>(options)), name)) {
      set_option(static_cast<QuantizerOptions&>(options), name, value);
    } else {
      set_option(options, name, value);
    }
  }
  set_calibration(options.calibration, run.calibration);
  set_count(options.calibration.samples, "samples", run.samples);
  set_count(options.calibration.sequence_length, "sequence_length", run.sequence_length);
  options.file_size = run.size;
  options.memory = run.memory;
  options.resume = run.resume;
  options.threads = thread_count(run.threads);
  return options;
}

std::string quantize(const std::filesystem::path& model, const std::filesystem::path& output,
                     const Settings& settings, const Run& run, nb::object progress) {
  const QuantizeOptions options = model_options(settings, run);
  Call call(std::move(progress));
  return call.run([&] {
    return to_json(
        quantize_model(model, output, options, call.progress_until_stopped(), call.stop()));
  });
}

nb::dict plan(const std::filesystem::path& model, const Settings& settings, const Run& run) {
  const QuantizeOptions options = model_options(settings, run);
  QuantizePlan plan;
  {
    const nb::gil_scoped_release released;
    plan = plan_quantization(model, options);
  }
  const auto layers = [](const std::vector<QuantizePlan::Layer>& all) {
    nb::list out;
    for (const QuantizePlan::Layer& layer : all) {
      nb::dict entry;
      entry["name"] = layer.name;
      entry["rows"] = layer.rows;
      entry["cols"] = layer.cols;
      entry["bits"] = layer.bits;
      entry["kept"] = layer.kept;
      out.append(entry);
    }
    return out;
  };
  nb::dict out;
  out["layers"] = layers(plan.layers);
  out["embeddings"] = layers(plan.embeddings);
  out["quantized_weights"] = plan.quantized_weights;
  out["calibration_tokens"] = plan.calibration_tokens;
  out["sequence_length"] = plan.sequence_length;
  out["bits"] = plan.bits;
  out["file_bytes"] = plan.file_bytes;
  out["peak_bytes"] = plan.peak_bytes;
  out["seconds"] = plan.seconds;
  return out;
}

void add_results(nb::module_& m) {
  nb::class_<BitCount>(m, "BitCount",
                       "Bits a weight of the full matrix, dead columns included; float() of it is "
                       "`file`.")
      .def_ro("file", &BitCount::file, "coded + side")
      .def_ro("coded", &BitCount::coded, "All that recovers the integers.")
      .def_ro("side", &BitCount::side, "Scales, dead columns, headers, padding.")
      .def_ro("pooled_entropy", &BitCount::pooled_entropy,
              "Empirical entropy of the integers as one source.")
      .def_ro("paper_rate", &BitCount::paper_rate,
              "pooled_entropy + 16 bits for each row and column, as the papers report.")
      .def("__float__", [](const BitCount& bits) { return bits.file; })
      .def("__repr__", [](const BitCount& bits) {
        return "BitCount(file=" + std::to_string(bits.file) +
               ", coded=" + std::to_string(bits.coded) + ", side=" + std::to_string(bits.side) +
               ")";
      });
  nb::class_<LayerResult>(m, "QuantizedMatrix", "A matrix of a outputs x n inputs, coded.")
      .def_prop_ro(
          "dequantized",
          [](LayerResult& r) {
            return nb::ndarray<nb::numpy, float, nb::ndim<2>>(
                r.dequantized.data(), {static_cast<size_t>(r.rows), static_cast<size_t>(r.cols)},
                nb::find(r));
          },
          "V, a x n, float32: what the payload decodes to. The memory is the result's.")
      .def_prop_ro(
          "payload",
          [](const LayerResult& r) {
            return nb::bytes(reinterpret_cast<const char*>(r.coded.data()), r.coded.size());
          },
          "The matrix as a .wsic file holds it (docs/format.md).")
      .def_prop_ro("shape", [](const LayerResult& r) { return std::pair(r.rows, r.cols); })
      .def_ro("bits", &LayerResult::bits, "What the payload spends, bits a weight.")
      .def_ro("target_bits", &LayerResult::target_bits)
      .def_ro("distortion", &LayerResult::distortion,
              "tr((W - V) S (W - V)^T) / (a n): the mean squared change of an output, per input.")
      .def_ro("weighted_distortion", &LayerResult::weighted_distortion,
              "The same under the metric of the outputs; 0 without one.")
      .def_ro("limit_bits", &LayerResult::limit_bits,
              "R(D): what no code of Gaussian weights can go below at this distortion.")
      .def_ro("gap", &LayerResult::gap, "bits.coded - limit_bits")
      .def_prop_ro("method", [](const LayerResult& r) { return name_of(r.method); })
      .def_ro("dead", &LayerResult::dead, "Columns that are zero, since their inputs are.")
      .def_ro("damping", &LayerResult::damping, "Relative to the mean of the diagonal of S.")
      .def_ro("step", &LayerResult::step, "c; 0 for the methods of a fixed grid.")
      .def_ro("seconds", &LayerResult::seconds)
      .def_ro("model_id", &LayerResult::model_id, "Names the payload by its content.")
      .def("__repr__", [](const LayerResult& r) {
        return "QuantizedMatrix(" + std::to_string(r.rows) + " x " + std::to_string(r.cols) + ", " +
               name_of(r.method) + ", bits=" + std::to_string(r.bits.file) +
               ", distortion=" + std::to_string(r.distortion) + ", gap=" + std::to_string(r.gap) +
               ")";
      });
}

}  // namespace

void add_quantize(nb::module_& m) {
  using Kind = OptionInfo::Kind;
  nb::enum_<Kind>(m, "OptionKind")
      .value("VALUE", Kind::kValue)
      .value("VALUES", Kind::kValues)
      .value("OFF", Kind::kOff)
      .value("ON", Kind::kOn)
      .value("LEFT_OPEN", Kind::kLeftOpen);
  nb::class_<OptionInfo>(m, "OptionInfo", "An option as the command line knows it.")
      .def_ro("name", &OptionInfo::name)
      .def_ro("kind", &OptionInfo::kind)
      .def_ro("values", &OptionInfo::values)
      .def_ro("help", &OptionInfo::help);
  m.def("layer_options", [] { return describe_options(QuantizerOptions{}); });
  m.def("model_options", [] {
    std::vector<OptionInfo> all = describe_options(QuantizerOptions{});
    for (const auto& more : {describe_options(ModelOptions{}), describe_options(QuantizeOptions{})})
      all.insert(all.end(), more.begin(), more.end());
    return all;
  });
  m.def("parse_size", &parse_size);
  nb::class_<Run>(m, "Run")
      .def(nb::init<>())
      .def_rw("calibration", &Run::calibration)
      .def_rw("samples", &Run::samples)
      .def_rw("sequence_length", &Run::sequence_length)
      .def_rw("size", &Run::size)
      .def_rw("memory", &Run::memory)
      .def_rw("resume", &Run::resume)
      .def_rw("threads", &Run::threads);
  add_results(m);
  m.def("quantize_matrix", &quantize_matrix, nb::arg("W"), nb::arg("S"),
        nb::arg("output_metric").none(), nb::arg("settings"), nb::arg("threads"));
  m.def("quantize", &quantize, nb::arg("model"), nb::arg("output"), nb::arg("settings"),
        nb::arg("run"), nb::arg("progress").none());
  m.def("plan", &plan, nb::arg("model"), nb::arg("settings"), nb::arg("run"));
}

}  // namespace watersic::python
