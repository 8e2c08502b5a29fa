#include "watersic/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/hash.h"
#include "checkpoint/open_checkpoint.h"
#include "io/json.h"
#include "pipeline/identity.h"
#include "quant/method.h"
#include "quant/option_table.h"
#include "watersic/error.h"
#include "watersic/file.h"
#include "watersic/report.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOriginal = "original";

struct Point {
  Method method = Method::kWatersic;
  double bits = 0;
  std::string name() const { return fmt::format("{}-{}", name_of(method), bits); }
};

// Sets what the settings say of the method; Error where one is malformed, or of no method of
// `known`.
void apply_settings(const std::vector<std::string>& settings, const std::vector<Method>& known,
                    Method method, QuantizeOptions& options) {
  for (const std::string& setting : settings) {
    const auto fail = [&](const std::string& what) {
      throw Error(fmt::format("setting '{}': {}", setting, what));
    };
    const size_t colon = setting.find(':');
    if (colon == std::string::npos) fail("expected METHOD:NAME=VALUE,...");
    try {
      const Method named = from_name<Method>(setting.substr(0, colon));
      if (std::ranges::find(known, named) == known.end())
        throw Error("the sweep does not have the method");
      if (named != method) continue;
      const std::vector<Setting> parsed = parse_settings(setting.substr(colon + 1));
      for (const Setting& each : parsed)
        if (each.name == "bits" || each.name == "method")
          throw Error(fmt::format("the sweep itself varies '{}'", each.name));
      set_options(options, parsed);
    } catch (const Error& e) {
      fail(e.what());
    }
  }
}

class Sweep {
 public:
  Sweep(const fs::path& model, const fs::path& text, const fs::path& folder,
        const SweepOptions& options, const ProgressFn& progress, const StopFn& stop)
      : model_(model),
        text_(text),
        folder_(folder),
        options_(options),
        progress_(progress),
        stop_(stop) {
    if (progress_)
      of_a_row_ = [this](const ProgressEvent& event) {
        if (event.stage != "opening") progress_(event);
      };
  }

  SweepResult run() {
    lay_out_grid();
    take_folder();
    std::vector<fs::path> files;
    original(files);
    for (size_t i = 0; i < grid_.size(); ++i) {
      if (stop_ && stop_())
        throw Interrupted(
            fmt::format("{}: stopped; the same command goes on from here", folder_.string()));
      row(grid_[i], files);
      tell(static_cast<int64_t>(i) + 1);
    }
    fs::remove(states());
    result_.csv = folder_ / "sweep.csv";
    write_file(result_.csv, csv());
    const Report report = make_report(files);
    result_.html = folder_ / "report.html";
    write_file(result_.html, report.html);
    result_.notes.insert(result_.notes.end(), report.notes.begin(), report.notes.end());
    return std::move(result_);
  }

 private:
  QuantizeOptions options_of(const Point& point) const {
    QuantizeOptions options = options_.quantize;
    options.method = point.method;
    options.bits = point.bits;
    apply_settings(options_.settings, options_.methods, point.method, options);
    options.windows_file = folder_ / "windows.json";
    const fs::path work = file(point, ".wsic.work");
    options.resume = fs::exists(work / "run.json");
    return options;
  }
  fs::path file(const Point& point, const char* extension) const {
    return folder_ / (point.name() + extension);
  }

  // The original's, which all rows are held against; not kept when the sweep is done.
  fs::path states() const { return folder_ / "original.states"; }

  // All that can be wrong with the options shows before any work is done.
  void lay_out_grid() {
    if (options_.bits.empty() || options_.methods.empty())
      throw Error("a sweep needs at least one rate and one method");
    std::set<std::string> names;
    for (const Method method : options_.methods) {
      for (const double bits : options_.bits) {
        const Point point{.method = method, .bits = bits};
        if (!names.insert(point.name()).second) continue;
        if (!can_have_bits(method, bits)) {
          result_.notes.push_back(fmt::format(
              "{}: left out, the method has 1 to 8 bits, whole numbers of them", point.name()));
          continue;
        }
        const QuantizeOptions options = options_of(point);
        check_options(options);
        grid_.push_back(point);
      }
    }
  }

  // The folder is this sweep's: made by it, or by one that would give the same rows.
  void take_folder() {
    const auto checkpoint = open_checkpoint(model_, progress_);
    for (const fs::path& path : checkpoint->files())
      original_bytes_ += static_cast<int64_t>(fs::file_size(path));
    Json identity = run_identity(*checkpoint, options_.quantize);
    for (const char* varied : {"bits", "method"}) identity["options"].erase(varied);
    identity["settings"] = options_.settings;
    identity["text"] = hex_hash(read_text(text_));
    const EvaluateOptions& evaluation = options_.evaluate;
    identity["evaluation"] = {{"convention", name_of(evaluation.convention)},
                              {"context", evaluation.context},
                              {"wikitext", evaluation.wikitext}};
    const fs::path path = folder_ / "sweep.json";
    if (fs::exists(path)) {
      if (const auto found = first_difference(read_json(path), identity)) {
        throw Error(fmt::format("{}: holds another sweep's rows: {}; take another folder",
                                folder_.string(), *found));
      }
      return;
    }
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error)
      throw Error(fmt::format("{}: cannot be created: {}", folder_.string(), error.message()));
    write_file(path, identity.dump(2) + "\n");
  }

  void original(std::vector<fs::path>& files) {
    const fs::path path = folder_ / (std::string(kOriginal) + ".eval.json");
    if (fs::exists(path)) {
      ++result_.found;
    } else {
      write_file(path, to_json(evaluate(model_, text_, options_.evaluate, of_a_row_)));
    }
    SweepRow row{.method = kOriginal, .bits = 16, .file_bits = 16, .coded_bits = 16};
    row.paper_rate = 16;
    row.file_bytes = original_bytes_;
    row.top1 = 1;
    add_evaluation(path, row);
    result_.rows.push_back(row);
    files.push_back(path);
  }

  // A row is finished when its evaluation is there, which is written last.
  void row(const Point& point, std::vector<fs::path>& files) {
    const fs::path model = file(point, ".wsic"), run = file(point, ".run.json"),
                   evaluation = file(point, ".eval.json");
    if (fs::exists(evaluation)) {
      ++result_.found;
    } else {
      if (!fs::exists(model) || !fs::exists(run))
        write_file(run,
                   to_json(quantize_model(model_, model, options_of(point), of_a_row_, stop_)));
      EvaluateOptions options = options_.evaluate;
      options.reference = model_;
      options.reference_states = states();
      write_file(evaluation, to_json(evaluate(model, text_, options, of_a_row_)));
    }
    if (options_.discard_files) fs::remove(model);

    SweepRow out{.method = name_of(point.method), .bits = point.bits};
    const Json json = read_json(run);
    const JsonFields totals = JsonFields(json, run.string()).object("totals");
    const JsonFields bits = totals.object("bits");
    out.file_bits = bits.number("file");
    out.coded_bits = bits.number("coded");
    out.paper_rate = bits.number("paper_rate");
    out.file_bytes = totals.integer("file_bytes");
    out.quantize_seconds = totals.number("seconds");
    add_evaluation(evaluation, out);
    result_.rows.push_back(out);
    files.push_back(run);
    files.push_back(evaluation);
  }

  static void add_evaluation(const fs::path& path, SweepRow& row) {
    const Json json = read_json(path);
    const JsonFields fields(json, path.string());
    row.perplexity = fields.number("perplexity");
    row.bits_per_byte = fields.number("bits_per_byte");
    row.kl_bits = fields.number("kl_bits", row.kl_bits);
    row.top1 = fields.number("top1", row.top1);
    row.evaluate_seconds = fields.number("seconds");
    row.model_id = fields.text("model_id");
  }

  void tell(int64_t done) const {
    if (!progress_) return;
    const SweepRow& r = result_.rows.back();
    progress_({.stage = "sweeping",
               .unit = "rows",
               .done = done,
               .total = static_cast<int64_t>(grid_.size()),
               .detail = fmt::format("{} at {} bits: {:.4f} in the file, perplexity {:.4f}, KL "
                                     "{:.5f} bits a token",
                                     r.method, r.bits, r.file_bits, r.perplexity, r.kl_bits)});
  }

  std::string csv() const {
    std::string out =
        "method,bits,file_bits,coded_bits,paper_rate,file_bytes,perplexity,bits_per_byte,kl_bits,"
        "top1,quantize_seconds,evaluate_seconds,model_id\n";
    for (const SweepRow& r : result_.rows) {
      out += fmt::format("{},{},{},{},{},{},{},{},{},{},{:.1f},{:.1f},{}\n", r.method, r.bits,
                         r.file_bits, r.coded_bits, r.paper_rate, r.file_bytes, r.perplexity,
                         r.bits_per_byte, r.kl_bits, r.top1, r.quantize_seconds, r.evaluate_seconds,
                         r.model_id);
    }
    return out;
  }

  fs::path model_, text_, folder_;
  const SweepOptions& options_;
  const ProgressFn& progress_;
  ProgressFn of_a_row_;  // the same without notes of the model, which every row would repeat
  const StopFn& stop_;
  std::vector<Point> grid_;
  int64_t original_bytes_ = 0;
  SweepResult result_;
};

}  // namespace

SweepResult sweep(const fs::path& model_dir, const fs::path& text, const fs::path& folder,
                  const SweepOptions& options, const ProgressFn& progress, const StopFn& stop) {
  return Sweep(model_dir, text, folder, options, progress, stop).run();
}

}  // namespace watersic
