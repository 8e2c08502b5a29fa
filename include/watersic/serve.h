// A model behind an HTTP server that speaks OpenAI's API (docs/server.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "watersic/progress.h"
#include "watersic/running.h"

namespace watersic {

struct ServeOptions {
  std::string host = "127.0.0.1";  // an address of this machine, or a name of one
  int port = 8080;                 // 0: any that is free
  std::string name;                // what requests call the model; empty: its file's name
  std::string api_key;             // what requests must have; empty: anyone may ask
  int64_t parallel = 4;            // texts that are written at once, 1 to 64
  int64_t queue = 32;              // texts that wait for that; beyond it requests are refused
  // Tokens of a text, its prompt included; 0: the model's context, or half, a quarter, ... of it
  // where the memory has no room for the keys and values of so many texts.
  int64_t context = 0;
  int64_t request_seconds = 600;  // until an answer must be complete
  size_t body_bytes = 1 << 20;    // of a request at most
  int threads = 0;                // of the model; 0: all that the machine has
  WeightFormat weights = WeightFormat::kPacked;
  CacheType cache = CacheType::kFloat16;
};

// A server that answers.
struct ServerInfo {
  std::string url, model;
  int port = 0;
  int64_t context = 0;
};

// Loads the model and serves it until `stop`, which is asked a few times a second, says so: then
// nothing more is taken, what is taken is answered, and it returns. `on_ready` is called when the
// server begins to listen. Throws Error where the model can't be loaded, does not fit into the
// memory, or the address can't be had.
void serve(const std::filesystem::path& model, const ServeOptions& options,
           const std::function<bool()>& stop,
           const std::function<void(const ServerInfo&)>& on_ready = {},
           const ProgressFn& progress = {});

}  // namespace watersic
