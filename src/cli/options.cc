#include <atomic>
#include <csignal>
#include <map>

#include "commands.h"

namespace watersic::cli {

void add_quantizer_options(CLI::App& command, QuantizerOptions& options) {
  command
      .add_option("--bits,-b", options.bits,
                  "Bits a weight, 0.05 to 16 (gptq, rtn: width of the integer grid, 1 to 8)")
      ->required()
      ->type_name("B");
  std::map<std::string, Method> methods;
  for (const Method method :
       {Method::kWatersic, Method::kHuffmanGptq, Method::kHuffmanRtn, Method::kGptq, Method::kRtn})
    methods[method_name(method)] = method;
  add_choice<Method>(command, "--method,-m", options.method, methods,
                     "watersic (default), huffman-gptq, huffman-rtn, gptq or rtn")
      ->type_name("NAME");
  add_choice<RateTarget>(command, "--rate", options.rate,
                         {{"file", RateTarget::kFile}, {"paper", RateTarget::kPaper}},
                         "What --bits counts: what the file spends (default), or the papers' count")
      ->type_name("file|paper");
  command
      .add_option(
          "--damping", options.damping,
          "Added to the covariance's diagonal, times its mean (default 1e-4; gptq and huffman-gptq "
          "0.1)")
      ->type_name("X");
  command
      .add_option("--dead-threshold", options.dead_threshold,
                  "An input below this times the median second moment is dead: its column becomes "
                  "zero and costs nothing (default 1e-3; gptq and huffman-gptq 0)")
      ->type_name("X");
  command.add_flag("!--no-rescalers", options.rescalers,
                   "watersic: do not refit row and column scales");
  command.add_flag_function(
      "--lmmse,!--no-lmmse", [&options](int64_t count) { options.lmmse = count > 0; },
      "watersic: shrink steps as columns are quantized (off)");
  command
      .add_option("--group-size", options.group_size,
                  "gptq, rtn: columns that share a scale (default: a whole row)")
      ->type_name("N");
  command.add_flag("--activation-order", options.activation_order,
                   "gptq, huffman-gptq: columns of large activations first");
  command
      .add_option("--trellis", options.trellis,
                  "States of the trellis down each column: 0 (none), 4, 8, ... 256 (default 64; "
                  "other methods 0)")
      ->check(CLI::IsMember({0, 4, 8, 16, 32, 64, 128, 256}))
      ->type_name("N");
  static const std::map<std::string, Coder> kCoders{{"pooled", Coder::kPooled},
                                                    {"classes", Coder::kClasses}};
  command
      .add_option("--coder", options.coder,
                  "classes (default): a table for each class of spread; pooled: one table")
      ->transform(CLI::CheckedTransformer(kCoders, CLI::ignore_case).description(""))
      ->type_name("classes|pooled");
  static const std::map<std::string, ColumnOrder> kOrders{{"native", ColumnOrder::kNative},
                                                          {"falling", ColumnOrder::kFalling},
                                                          {"rising", ColumnOrder::kRising}};
  command
      .add_option("--order", options.order,
                  "Columns by their second moment: native (default), falling (strong ones mend "
                  "weak ones) or rising")
      ->transform(CLI::CheckedTransformer(kOrders, CLI::ignore_case).description(""))
      ->type_name("ORDER");
  command
      .add_option("--shrinkage", options.shrinkage,
                  "watersic: damping towards zero in proportion to the step squared (default "
                  "0.06, in a principal basis 0.025; 0 for none)")
      ->type_name("X");
  command.add_flag("--rotate", options.rotate,
                   "gptq methods: rotate the inputs at random (undone when decoded)");
  command.add_option("--seed", options.seed, "Seed of all that is random (default 1)")
      ->type_name("S");
}

void add_calibration_options(CLI::App& command, CalibrationOptions& options) {
  command
      .add_option_function<std::string>(
          "--calibration",
          [&options](const std::string& value) {
            using Source = CalibrationOptions::Source;
            options.source = value == "self"   ? Source::kSelf
                             : value == "none" ? Source::kNone
                                               : Source::kText;
            if (options.source == Source::kText) options.file = value;
          },
          "What the layers' inputs are measured on. self (default): text that the model samples; "
          "FILE: this text; none: nothing, inputs are taken as white")
      ->type_name("FILE|self|none");
  command.add_option("--samples", options.samples, "Windows to calibrate on (default 128)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("N");
  command
      .add_option("--sequence-length", options.sequence_length,
                  "Tokens in each window (default 2048, at most the model's context)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("T");
}

namespace {

std::atomic<bool> stopped = false;
static_assert(std::atomic<bool>::is_always_lock_free);
extern "C" void stop_run(int /*signal*/) { stopped = true; }

}  // namespace

StopFn stop_on_signals() {
  std::signal(SIGTERM, stop_run);
  std::signal(SIGINT, stop_run);
  return [] { return stopped.load(); };
}

void add_weights(CLI::App& command, WeightFormat& weights) {
  add_choice<WeightFormat>(command, "--weights", weights,
                           {{"packed", WeightFormat::kPacked},
                            {"exact", WeightFormat::kExact},
                            {"float32", WeightFormat::kFloat32}},
                           std::string("How weights are held: packed, as narrow as they are "
                                       "stored, times inputs in 8 bits; exact, the same times "
                                       "inputs as they are; float32 (default ") +
                               to_string(weights) + ")")
      ->type_name("packed|exact|float32");
}

void add_threads(CLI::App& command, int& threads) {
  command
      .add_option("--threads", threads,
                  "Threads (default: all that the machine has); the result does not depend on it")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
}

void add_cache(CLI::App& command, CacheType& cache) {
  add_choice<CacheType>(
      command, "--cache", cache,
      {{"16", CacheType::kFloat16}, {"8", CacheType::kInt8}, {"32", CacheType::kFloat32}},
      "Bits of the keys and values of the tokens so far (default 16)")
      ->type_name("16|8|32");
}

}  // namespace watersic::cli
