#include "server/metrics.h"

#include <fmt/format.h>

#include "base/memory.h"

namespace watersic {

void Metrics::count_answer(const std::string& path, int status) {
  const std::lock_guard lock(mutex_);
  ++answers_[{path, status}];
}

void Metrics::count_disconnect() {
  const std::lock_guard lock(mutex_);
  ++disconnects_;
}

void Metrics::first_token_after(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_ = {.sum = first_token_.sum + seconds, .count = first_token_.count + 1};
}

void Metrics::answered_after(double seconds) {
  const std::lock_guard lock(mutex_);
  whole_ = {.sum = whole_.sum + seconds, .count = whole_.count + 1};
}

std::string Metrics::text(const Load& load) const {
  std::string out;
  const auto head = [&](const std::string& name, const char* type, const char* help) {
    out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  };
  const auto value = [&](const std::string& name, const char* type, const char* help,
                         const auto& number) {
    head(name, type, help);
    out += fmt::format("{} {}\n", name, number);
  };
  const auto summary = [&](const std::string& name, const char* help, const Summary& of) {
    head(name, "summary", help);
    out += fmt::format("{0}_sum {1}\n{0}_count {2}\n", name, of.sum, of.count);
  };
  const std::lock_guard lock(mutex_);
  head("watersic_requests_total", "counter", "Answers by path and HTTP status.");
  for (const auto& [key, count] : answers_)
    out += fmt::format("watersic_requests_total{{path=\"{}\",code=\"{}\"}} {}\n", key.first,
                       key.second, count);
  value("watersic_disconnects_total", "counter", "Requests whose client went away.", disconnects_);
  value("watersic_running", "gauge", "Choices that are being written.", load.running);
  value("watersic_waiting", "gauge", "Choices that wait for a place.", load.waiting);
  value("watersic_cache_bytes", "gauge", "Keys and values of those that are written.",
        load.cache_bytes);
  value("watersic_prompt_tokens_total", "counter", "Tokens of prompts that were read.",
        load.prompt_tokens);
  value("watersic_generated_tokens_total", "counter", "Tokens that were written.",
        load.written_tokens);
  value("watersic_steps_total", "counter", "Passes through the model.", load.steps);
  value("watersic_step_seconds_total", "counter", "Time that they took.", load.step_seconds);
  summary("watersic_first_token_seconds", "From the request to the first text.", first_token_);
  summary("watersic_request_seconds", "From the request to the end of its answer.", whole_);
  value("watersic_peak_memory_bytes", "gauge", "Resident memory of the process at most.",
        peak_memory());
  return out;
}

}  // namespace watersic
