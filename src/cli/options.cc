#include <map>

#include "commands.h"

namespace watersic::cli {

void add_quantizer_options(CLI::App& command, QuantizerOptions& options) {
  static const std::map<std::string, RateTarget> kRates{{"file", RateTarget::kFile},
                                                        {"paper", RateTarget::kPaper}};
  command
      .add_option("--bits,-b", options.bits,
                  "Bits per weight (gptq, rtn: width of the integer grid)")
      ->required()
      ->type_name("B");
  command
      .add_option_function<std::string>(
          "--method,-m",
          [&options](const std::string& name) { options.method = method_from_name(name); },
          "watersic (default), huffman-gptq, huffman-rtn, gptq or rtn")
      ->check(CLI::IsMember({"watersic", "huffman-gptq", "huffman-rtn", "gptq", "rtn"}))
      ->type_name("NAME");
  command
      .add_option("--rate", options.rate,
                  "What --bits counts: file (default) or paper, the papers' count")
      ->transform(CLI::CheckedTransformer(kRates, CLI::ignore_case).description(""))
      ->type_name("file|paper");
  command
      .add_option(
          "--damping", options.damping,
          "Added to the covariance's diagonal, times its mean (default 1e-4; gptq methods 0.1)")
      ->type_name("X");
  command
      .add_option("--dead-threshold", options.dead_threshold,
                  "A feature below this times the median second moment is dead (default 1e-3; gptq "
                  "methods 0)")
      ->type_name("X");
  command.add_flag("!--no-rescalers", options.rescalers,
                   "watersic: do not refit row and column scales");
  command.add_flag("!--no-lmmse", options.lmmse,
                   "watersic: do not shrink steps as columns are quantized");
  command
      .add_option("--group-size", options.group_size,
                  "gptq, rtn: columns that share a scale (default: a whole row)")
      ->type_name("N");
  command.add_flag("--activation-order", options.activation_order,
                   "gptq methods: columns of large activations first");
  command.add_option("--seed", options.seed, "Seed of all that is random (default 1)")
      ->type_name("S");
}

void add_threads(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads (default: all that the machine has)")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
}

}  // namespace watersic::cli
