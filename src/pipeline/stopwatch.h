// Time and peak memory of the stages of a run. Stages come round again for every block.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "base/memory.h"
#include "watersic/quantize.h"

namespace watersic {

class Stopwatch {
 public:
  // Ends the stage before and begins this one.
  void stage(const std::string& name) {
    stop();
    const auto same = [&](const StageReport& s) { return s.stage == name; };
    auto found = std::find_if(stages_.begin(), stages_.end(), same);
    if (found == stages_.end()) found = stages_.insert(stages_.end(), StageReport{.stage = name});
    current_ = found - stages_.begin();
    reset_peak_memory();
    started_ = Clock::now();
  }
  void stop() {
    if (current_ < 0) return;
    StageReport& now = stages_[static_cast<size_t>(current_)];
    now.seconds += std::chrono::duration<double>(Clock::now() - started_).count();
    now.peak_bytes = std::max(now.peak_bytes, peak_memory());
    current_ = -1;
  }
  const std::vector<StageReport>& stages() const { return stages_; }

 private:
  using Clock = std::chrono::steady_clock;

  std::vector<StageReport> stages_;
  std::ptrdiff_t current_ = -1;
  Clock::time_point started_;
};

}  // namespace watersic
