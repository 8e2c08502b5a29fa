// Runs a fuzz target where there is no libFuzzer, or on given inputs.
//
//   fuzz_NAME [--runs N] [--seconds S] [--seed K]   mutations of the seeds, N (10000) or S seconds
//   fuzz_NAME FILE...                               these inputs
//   fuzz_NAME --seeds FOLDER                        writes the seeds, for libFuzzer to begin with
//
// The same K gives the same inputs. When a sanitizer or an exception ends the program, the input is
// left in fuzz_NAME.crash in the working folder.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>

#include "fuzz.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace watersic {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// What is being read, for when the program ends in the middle of it: no handler takes an argument.
std::string g_input, g_crash_file;

void save_input() {
  std::ofstream(g_crash_file, std::ios::binary | std::ios::trunc) << g_input;
  std::fprintf(stderr, "the input is in %s\n", g_crash_file.c_str());
}

// In seconds.
double run(std::string input) {
  g_input = std::move(input);
  const auto begin = Clock::now();
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(g_input.data()), g_input.size());
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Limits {
  uint64_t runs = 10000, seed = 1;
  double seconds = std::numeric_limits<double>::infinity();
};

// The seeds as they are, then mutations of mutations: most inputs are one step from a seed, some a
// few.
void run_mutations(const Limits& limits) {
  const std::vector<std::string> seeds = fuzz_seeds();
  for (const std::string& seed : seeds) {
    g_input = seed;
    fuzz_input(seed);  // a seed that is an Error would test little
  }
  Rng rng(limits.seed);
  double slowest = 0;
  uint64_t runs = 0;
  const auto begin = Clock::now();
  const auto spent = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  for (; runs < limits.runs && spent() < limits.seconds; ++runs) {
    std::string input = seeds[rng.below(seeds.size())];
    do input = fuzz_mutate(input, rng);
    while (rng.below(4) == 0);
    slowest = std::max(slowest, run(std::move(input)));
  }
  std::cout << runs << " inputs from " << seeds.size() << " seeds in " << spent()
            << " s, the slowest in " << slowest << " s\n";
}

int main_of(const std::vector<std::string>& arguments) {
  Limits limits;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) {
      std::ifstream in(argument, std::ios::binary);
      if (!in) throw Error(argument + ": cannot be read");
      std::cout << argument << ": " << run({std::istreambuf_iterator<char>(in), {}}) << " s\n";
      if (i + 1 == arguments.size()) return 0;
      continue;
    }
    if (++i == arguments.size()) throw Error(argument + ": expected a value");
    const std::string& value = arguments[i];
    if (argument == "--runs") {
      limits.runs = std::stoull(value);
    } else if (argument == "--seconds") {
      limits.seconds = std::stod(value);
      limits.runs = std::numeric_limits<uint64_t>::max();
    } else if (argument == "--seed") {
      limits.seed = std::stoull(value);
    } else if (argument == "--seeds") {
      fs::create_directories(value);
      int number = 0;
      for (const std::string& seed : fuzz_seeds())
        std::ofstream(fs::path(value) / std::to_string(number++), std::ios::binary) << seed;
      return 0;
    } else {
      throw Error(argument + ": expected --runs, --seconds, --seed or --seeds");
    }
  }
  run_mutations(limits);
  return 0;
}

}  // namespace
}  // namespace watersic

int main(int argc, char** argv) {
  using namespace watersic;  // NOLINT: a program
  g_crash_file = fs::path(argv[0]).filename().string() + ".crash";
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(save_input);
#endif
  try {
    return main_of({argv + 1, argv + argc});
  } catch (const Error& e) {
    std::cerr << e.what() << "\n";
  } catch (const std::exception& e) {
    std::cerr << "an exception that is no Error: " << e.what() << "\n";
  }
  if (!g_input.empty()) save_input();
  return 1;
}
