#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <memory>

#include "commands.h"
#include "console.h"

namespace watersic::cli {
namespace {

using Clock = std::chrono::steady_clock;

std::string duration(double seconds) {
  const auto s = std::lround(seconds);
  if (s >= 3600) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  if (s >= 60) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

class Printer {
 public:
  Printer() : terminal_(::isatty(STDERR_FILENO) != 0) {}
  ~Printer() { clear(); }
  Printer(const Printer&) = delete;
  Printer& operator=(const Printer&) = delete;

  void operator()(const ProgressEvent& event) {
    const auto now = Clock::now();
    if (event.stage != stage_) {
      stage_ = event.stage;
      started_ = now;
      first_ = event.done;
      printed_ = {};
    }
    if (!event.detail.empty()) {
      clear();
      say(printable(event.detail) + "\n");
    }
    // A terminal is refreshed ten times a second; a log gets a line every ten seconds.
    const auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(10);
    if (event.total <= 0 || (now - printed_ < interval && event.done < event.total)) return;
    if (!terminal_ && printed_ == Clock::time_point{} && event.done < event.total) {
      printed_ = now;
      return;
    }
    printed_ = now;
    const double seconds = std::chrono::duration<double>(now - started_).count();
    const double rate = static_cast<double>(event.done - first_) / std::max(seconds, 1e-9);
    std::string line =
        fmt::format("{}: {}/{} {}", event.stage, event.done, event.total, event.unit);
    if (event.done > first_) {
      line += fmt::format(", {:.3g} {}/s", rate, event.unit);
      if (event.done < event.total) {
        line += fmt::format(", {} left",
                            duration(static_cast<double>(event.total - event.done) / rate));
      } else {
        line += fmt::format(", {}", duration(seconds));
      }
    }
    clear();
    if (terminal_ && event.done < event.total) {
      say(line);
      width_ = line.size();
    } else {
      say(line + "\n");
    }
  }

 private:
  void clear() {
    if (width_ > 0) say(fmt::format("\r{:{}}\r", "", width_));
    width_ = 0;
  }

  bool terminal_;
  size_t width_ = 0;
  std::string stage_;
  int64_t first_ = 0;
  Clock::time_point started_, printed_;
};

}  // namespace

ProgressFn progress_printer(bool quiet) {
  if (quiet) return {};
  auto printer = std::make_shared<Printer>();
  return [printer](const ProgressEvent& event) { (*printer)(event); };
}

}  // namespace watersic::cli
