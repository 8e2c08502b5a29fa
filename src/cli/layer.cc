#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "watersic/file.h"
#include "watersic/layer.h"
#include "watersic/npy.h"

namespace watersic::cli {
namespace {

struct Arguments {
  std::filesystem::path weights, covariance, json, dequantized;
  std::string basis = "native";
  LayerOptions options;
};

void run(const Arguments& arguments) {
  const Matrix<float> W = read_npy<float>(arguments.weights);
  const Matrix<double> S = read_npy<double>(arguments.covariance);
  LayerResult result;
  if (arguments.basis == "eigen") {
    const EigenBasis basis = to_eigenbasis(W, S, arguments.options.threads);
    result = quantize_layer(basis.W, basis.S, arguments.options);
    result.dequantized = from_eigenbasis(result.dequantized, basis.Q, arguments.options.threads);
    fmt::print("in the eigenbasis of S, whose own bits are not counted: a bound, not a file\n");
  } else {
    result = quantize_layer(W, S, arguments.options);
  }
  if (!arguments.dequantized.empty()) write_npy<float>(arguments.dequantized, result.dequantized);
  if (!arguments.json.empty()) write_file(arguments.json, to_json(result));
  const BitCount& bits = result.bits;
  fmt::print("{} x {}, {}: {:.4f} bits a weight ({:.4f} coded + {:.4f} side)\n", result.rows,
             result.cols, method_name(result.method), bits.file, bits.coded, bits.side);
  fmt::print("pooled entropy {:.4f}, as the papers count {:.4f}\n", bits.pooled_entropy,
             bits.paper_rate);
  fmt::print(
      "distortion {:.6g}; no code of Gaussian weights reaches it with less than {:.4f} bits: gap "
      "{:.4f}\n",
      result.distortion, result.limit_bits, result.gap);
  fmt::print("{} dead columns, {:.2f} s\n", result.dead, result.seconds);
}

}  // namespace

void add_layer(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "layer",
      "Quantize one matrix, given the second moment of its inputs; needs no model.\n\n"
      "  watersic layer --weights W.npy --covariance S.npy --bits 2\n\n"
      "W is a x n (outputs x inputs), S is n x n: E[x x^T]. Both .npy, float32 or float64.");
  command->add_option("--weights,-w", arguments->weights, "The matrix W")
      ->required()
      ->type_name("W.npy");
  command->add_option("--covariance,-s", arguments->covariance, "The second moment S of the inputs")
      ->required()
      ->type_name("S.npy");
  add_quantizer_options(*command, arguments->options);
  command
      ->add_option(
          "--basis", arguments->basis,
          "native (default), or eigen: an oracle that is told S's eigenvectors for nothing")
      ->check(CLI::IsMember({"native", "eigen"}))
      ->type_name("BASIS");
  add_threads(*command, arguments->options.threads);
  command->add_option("--json", arguments->json, "Write the figures here")->type_name("OUT.json");
  command->add_option("--dequantized", arguments->dequantized, "Write the quantized matrix here")
      ->type_name("V.npy");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace watersic::cli
