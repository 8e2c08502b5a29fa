// What the methods reach, pinned: a change of compression shows as a diff of tests/results.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "results.h"
#include "watersic/evaluate.h"
#include "watersic/file.h"
#include "watersic/layer.h"
#include "watersic/model.h"
#include "watersic/npy.h"
#include "watersic/quantize.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

constexpr Method kMethods[] = {Method::kWatersic, Method::kHuffmanGptq, Method::kHuffmanRtn,
                               Method::kGptq, Method::kRtn};

bool is_grid(Method method) { return method == Method::kGptq || method == Method::kRtn; }

std::string joined(const std::string& family, int64_t rows, int64_t cols, const std::string& method,
                   double bits) {
  std::ostringstream out;
  out << family << ',' << rows << ',' << cols << ',' << method << ',' << bits;
  return out.str();
}

// All methods, and the runnable layout with few bits of state.
struct Way {
  std::string name;
  QuantizerOptions options;
};
std::vector<Way> all_ways() {
  std::vector<Way> ways;
  for (const Method method : kMethods) ways.push_back({name_of(method), {.method = method}});
  ways.push_back({"runnable", {.layout = Layout::kRunnable, .state_bits = 10}});
  return ways;
}

class Golden : public testing::Test {
 protected:
  Golden()
      : folder_(fs::temp_directory_path() / ("watersic-golden-" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~Golden() override { fs::remove_all(folder_); }

  fs::path folder_;
};

TEST_F(Golden, Layers) {
  const Column bits{.decimals = 4, .absolute = 0.002},
      // What 0.5% of distortion are, in bits, is 0.0036 where all directions are active.
      limit{.decimals = 4, .absolute = 0.005};
  const auto named = [](Column column, const char* name) {
    column.name = name;
    return column;
  };
  Results results("family,rows,cols,method,bits",
                  {named(bits, "file_bits"),
                   named(bits, "coded_bits"),
                   named(bits, "side_bits"),
                   named(bits, "pooled_entropy"),
                   {.name = "distortion", .decimals = -6, .relative = 0.005},
                   named(limit, "limit_bits"),
                   named(limit, "gap")});
  constexpr int64_t kRows = 512, kCols = 256;
  for (const char* family : {"white", "powerlaw", "ar1", "lognormal_diag", "hard"}) {
    synthesize_layer(family, kRows, kCols, 1, folder_);
    const Matrix<float> W = read_npy<float>(folder_ / "W.npy");
    const Matrix<double> S = read_npy<double>(folder_ / "S.npy");
    for (const auto& [name, options] : all_ways()) {
      for (const double rate : {1.0, 1.5, 2.0, 3.0, 4.0}) {
        if (is_grid(options.method) && rate < 2) continue;
        QuantizerOptions asked = options;
        asked.bits = rate;
        const LayerResult r = quantize_layer(W, S, asked);
        results.add(joined(family, kRows, kCols, name, rate),
                    {r.bits.file, r.bits.coded, r.bits.side, r.bits.pooled_entropy, r.distortion,
                     r.limit_bits, r.gap});
      }
    }
  }
  results.compare("layers.csv");
}

TEST_F(Golden, Bundled) {
  Results results("method,bits", {{.name = "file_bits", .absolute = 0.002},
                                  {.name = "file_bytes", .decimals = 0, .relative = 0.0005},
                                  {.name = "perplexity", .relative = 0.005},
                                  {.name = "kl_bits", .decimals = 5, .relative = 0.02},
                                  {.name = "top1", .absolute = 0.005}});
  const fs::path model = WATERSIC_SOURCE_DIR "/models/books-llama", text = folder_ / "text.txt",
                 file = folder_ / "model.wsic";
  write_file(text, sample_text(model, 4096, 2));
  for (const auto& [name, way] : all_ways()) {
    QuantizeOptions options;
    static_cast<QuantizerOptions&>(options) = way;
    options.bits = 2;
    options.calibration.samples = 16;
    options.limits = false;
    const QuantizeReport report = quantize_model(model, file, options);
    const EvaluateResult score = evaluate(file, text, {.reference = model});
    results.add(name + ",2", {report.bits.file, static_cast<double>(report.file_bytes),
                              score.perplexity, score.kl_bits, score.top1});
  }
  results.compare("bundled.csv");
}

}  // namespace
}  // namespace watersic
