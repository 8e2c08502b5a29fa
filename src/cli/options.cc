#include <atomic>
#include <csignal>
#include <map>

#include "commands.h"
#include "console.h"
#include "watersic/error.h"

namespace watersic::cli {

CLI::Option* add_option(CLI::App& command, const OptionInfo& option, const SetFn& set) {
  using Kind = OptionInfo::Kind;
  static const std::map<std::string, std::string> kShort{{"bits", ",-b"}, {"method", ",-m"}};
  // The library's errors begin with the option's name.
  const auto checked = [set](const std::string& value) {
    try {
      set(value);
    } catch (const Error& e) {
      throw CLI::ValidationError(std::string("--") + e.what());
    }
  };
  const std::string on = "--" + option.name, off = "!--no-" + option.name;
  switch (option.kind) {
    case Kind::kValue:
      return command
          .add_option_function<std::string>(
              on + (kShort.contains(option.name) ? kShort.at(option.name) : ""), checked,
              option.help)
          ->type_name(option.values);
    case Kind::kValues:
      return command
          .add_option_function<std::vector<std::string>>(
              on,
              [checked](const std::vector<std::string>& values) {
                for (const std::string& value : values) checked(value);
              },
              option.help)
          ->type_name(option.values)
          ->allow_extra_args(false);
    case Kind::kOff:
    case Kind::kOn:
    case Kind::kLeftOpen:
      break;
  }
  return command.add_flag_function(
      option.kind == Kind::kOff  ? on
      : option.kind == Kind::kOn ? off
                                 : on + "," + off,
      [checked](int64_t count) { checked(count > 0 ? "on" : "off"); }, option.help);
}

void add_calibration_options(CLI::App& command, CalibrationOptions& options) {
  add_option(
      command,
      {.name = "calibration",
       .values = "FILE|self|none",
       .help = "What the layers' inputs are measured on. self (default): text that the model "
               "samples; FILE: this text; none: nothing, inputs are taken as white"},
      [&options](const std::string& value) { set_calibration(options, value); });
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
// Who asks twice doesn't wait for the next step.
extern "C" void stop_run(int signal) {
  if (stopped.exchange(true)) end_program(signal);
}

}  // namespace

StopFn stop_on_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    if (std::signal(signal, stop_run) == SIG_IGN) std::signal(signal, SIG_IGN);
  return [] { return stopped.load(); };
}

void add_weights(CLI::App& command, WeightFormat& weights) {
  add_choice(command, "--weights", weights,
             std::string("How weights are held: packed, as narrow as they are stored, times inputs "
                         "in 8 bits; exact, the same times inputs as they are; float32 (default ") +
                 name_of(weights) + ")");
}

void add_cache(CLI::App& command, CacheType& cache) {
  add_choice(command, "--cache", cache,
             std::string("Bits of the keys and values of the tokens so far (default ") +
                 name_of(cache) + ")");
}

void add_threads(CLI::App& command, int& threads) {
  command
      .add_option("--threads", threads,
                  "Threads (default: all that the machine has); the result does not depend on it")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
}

}  // namespace watersic::cli
