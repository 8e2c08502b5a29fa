#include "watersic/limit.h"

#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "watersic/file.h"
#include "watersic/npy.h"

namespace watersic::cli {
namespace {

struct LimitArguments {
  std::filesystem::path covariance, weights, json;
  std::vector<double> bits{0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6};
  uint64_t seed = 1;
  int threads = 0;
};

void run_limit(const LimitArguments& arguments) {
  const Matrix<double> S = read_npy<double>(arguments.covariance);
  const Matrix<float> W =
      arguments.weights.empty() ? Matrix<float>() : read_npy<float>(arguments.weights);
  const LimitReport r = information_limit(S, W, arguments.bits, arguments.seed, arguments.threads);
  if (!arguments.json.empty()) write_file(arguments.json, to_json(r));
  fmt::print(
      "{} features, eigenvalues {:.4g} to {:.4g}, mean {:.4g}; weights of variance {:.4g}\n\n",
      r.features, r.smallest, r.largest, r.trace, r.variance);
  fmt::print("{:>8} {:>14} {:>14} {:>8}\n", "R(D)", "D", "water level", "active");
  for (const LimitPoint& p : r.points) {
    fmt::print("{:>8.3f} {:>14.6g} {:>14.6g} {:>8}\n", p.bits, p.distortion, p.water_level,
               p.active);
  }
  fmt::print("\nat high rate, bits above R(D) of integers coded at their entropy:\n");
  fmt::print("  WaterSIC {:.4f} for every covariance (with a trellis less: 0.04 to 0.09)\n",
             r.watersic_gap);
  fmt::print("  GPTQ {:.4f}, after a random rotation of the inputs {:.4f}\n", r.gptq_gap,
             r.rotated_gptq_gap);
}

}  // namespace

void add_limit(CLI::App& program) {
  auto arguments = std::make_shared<LimitArguments>();
  CLI::App* command = program.add_subcommand(
      "limit",
      "The information-theoretic limit of a layer, and what theory promises GPTQ and WaterSIC.\n\n"
      "  watersic limit --covariance S.npy\n\n"
      "S is n x n, E[x x^T] of the layer's inputs. No code of Gaussian weights spends less than "
      "R(D).");
  command->add_option("--covariance,-s", arguments->covariance, "The second moment S of the inputs")
      ->required()
      ->type_name("S.npy");
  command
      ->add_option("--weights,-w", arguments->weights,
                   "The weights: only their variance counts (default 1)")
      ->type_name("W.npy");
  command->add_option("--bits,-b", arguments->bits, "The rates, separated by commas")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 32.0))
      ->type_name("B,...");
  command->add_option("--seed", arguments->seed, "Seed of the rotation (default 1)")
      ->type_name("S");
  add_threads(*command, arguments->threads);
  command->add_option("--json", arguments->json, "Write the figures here")->type_name("OUT.json");
  command->callback([arguments] { run_limit(*arguments); });
}

}  // namespace watersic::cli
