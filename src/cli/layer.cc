#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "watersic/file.h"
#include "watersic/layer.h"
#include "watersic/npy.h"

namespace watersic::cli {
namespace {

struct LayerArguments {
  std::filesystem::path weights, covariance, output_metric, json, dequantized;
  std::string basis = "native";
  LayerOptions options;
};

void run_layer(const LayerArguments& arguments) {
  if (!arguments.dequantized.empty()) check_writable(arguments.dequantized);
  if (!arguments.json.empty()) check_writable(arguments.json);
  const Matrix<float> W = read_npy<float>(arguments.weights);
  const Matrix<double> S = read_npy<double>(arguments.covariance);
  Matrix<double> G;
  if (!arguments.output_metric.empty()) G = read_npy<double>(arguments.output_metric);
  LayerResult result;
  if (arguments.basis == "eigen") {
    const EigenBasis basis = to_eigenbasis(W, S, arguments.options.threads);
    result = quantize_layer(basis.W, basis.S, arguments.options, G);
    result.dequantized = from_eigenbasis(result.dequantized, basis.Q, arguments.options.threads);
    fmt::print("in the eigenbasis of S, whose own bits are not counted: a bound, not a file\n");
  } else {
    result = quantize_layer(W, S, arguments.options, G);
  }
  if (!arguments.dequantized.empty()) write_npy<float>(arguments.dequantized, result.dequantized);
  if (!arguments.json.empty()) write_file(arguments.json, to_json(result));
  const BitCount& bits = result.bits;
  fmt::print("{} x {}, {}, {} dead columns, {:.2f} s\n", result.rows, result.cols,
             name_of(result.method), result.dead, result.seconds);
  fmt::print("bits a weight  {:.4f} ({:.4f} coded + {:.4f} side)\n", bits.file, bits.coded,
             bits.side);
  fmt::print("               {:.4f} as the papers count; pooled entropy {:.4f}\n", bits.paper_rate,
             bits.pooled_entropy);
  fmt::print("distortion     {:.6g}\n", result.distortion);
  if (result.weighted_distortion > 0)
    fmt::print("               {:.6g} under the metric of the outputs, which counts below\n",
               result.weighted_distortion);
  fmt::print("limit          {:.4f} bits for Gaussian weights at this distortion; gap {:.4f}\n",
             result.limit_bits, result.gap);
}

}  // namespace

void add_layer(CLI::App& program) {
  auto arguments = std::make_shared<LayerArguments>();
  CLI::App* command = program.add_subcommand(
      "layer",
      "Quantize one matrix, given the second moment of its inputs\n\n"
      "  watersic layer --weights W.npy --covariance S.npy --bits 2\n\n"
      "W is a x n (outputs x inputs), S is n x n: the mean of x x^T over inputs x. Both are .npy "
      "files\n"
      "of float32 or float64. Needs no model; `watersic synth --layer` makes examples.");
  command->add_option("--weights,-w", arguments->weights, "The matrix W")
      ->required()
      ->type_name("W.npy");
  command->add_option("--covariance,-s", arguments->covariance, "The second moment S of the inputs")
      ->required()
      ->type_name("S.npy");
  command
      ->add_option("--output-metric,-g", arguments->output_metric,
                   "What errors e of the outputs count, e^T G e: a x a (default: all alike)")
      ->type_name("G.npy");
  add_options(*command, arguments->options);
  command->get_option("--bits")->required();
  command
      ->add_option(
          "--basis", arguments->basis,
          "native (default), or eigen: an oracle that is told S's eigenvectors for nothing")
      ->check(CLI::IsMember({"native", "eigen"}))
      ->type_name("BASIS");
  add_threads(*command, arguments->options.threads);
  command->add_option("--json", arguments->json, "Write the figures to this file")
      ->type_name("OUT.json");
  command
      ->add_option("--dequantized", arguments->dequantized,
                   "Write the matrix as it decodes to this file")
      ->type_name("V.npy");
  command->callback([arguments] { run_layer(*arguments); });
}

}  // namespace watersic::cli
