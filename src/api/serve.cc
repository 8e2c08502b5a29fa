#include "watersic/serve.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "api/model_impl.h"
#include "io/text.h"
#include "server/http_server.h"
#include "watersic/error.h"

namespace watersic {
namespace {

void check(const ServeOptions& options) {
  const auto in = [](const char* what, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
      throw Error(fmt::format("{}: expected {} to {}, found {}", what, least, most, value));
  };
  in("port", options.port, 0, 65535);
  in("parallel", options.parallel, 1, 64);
  in("queue", options.queue, 0, 4096);
  in("request-seconds", options.request_seconds, 1, 1'000'000);
  if (find_invalid_utf8(options.name) != std::string::npos)
    throw Error("the model's name: expected UTF-8");
  for (const char c : options.api_key)
    if (c <= ' ' || c > '~')
      throw Error("the API key: expected printable ASCII characters without spaces");
}

std::string name_of_model(const std::filesystem::path& path) {
  const std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  const std::filesystem::path file = whole.has_filename() ? whole : whole.parent_path();
  return replace_invalid_utf8(std::filesystem::is_directory(path) ? file.filename().string()
                                                                  : file.stem().string());
}

// Clients need not know where the model lies.
template <class Run>
auto without_path(const Model::Impl& model, const Run& run) {
  try {
    return run();
  } catch (const Error& e) {
    const std::string what = e.what(), path = model.opened->name() + ": ";
    throw Error(what.starts_with(path) ? what.substr(path.size()) : what);
  }
}

ServedModel served_model(const Model::Impl& model, std::string name, int64_t context) {
  const ModelConfig& config = model.config();
  const auto chat_prompt = [&model](const std::vector<ChatMessage>& messages) {
    return without_path(model, [&] {
      Model::Impl::ChatPrompt prompt = model.chat_prompt(messages);
      return ServedModel::Prompt{.ids = std::move(prompt.ids), .ends = std::move(prompt.ends)};
    });
  };
  const auto sampler = [&model](const Sampling& sampling) {
    return without_path(model, [&] { return model.sampler(sampling); });
  };
  ServedModel served{.name = std::move(name),
                     .context = context,
                     .vocabulary = config.vocabulary,
                     .ends = {config.eos.begin(), config.eos.end()},
                     .first_token = config.first_token(),
                     .tokenizer = &model.tokenizer(),
                     .chat_prompt = chat_prompt,
                     .sampler = sampler};
  if (const auto eos = model.tokenizer().eos_id()) served.ends.insert(*eos);
  return served;
}

}  // namespace

void serve(const std::filesystem::path& path, const ServeOptions& options,
           const std::function<bool()>& stop,
           const std::function<void(const ServerInfo&)>& on_ready, const ProgressFn& progress) {
  constexpr auto kTick = std::chrono::milliseconds(100);
  check(options);
  const Model opened(path, {.threads = options.threads, .weights = options.weights});
  Model::Impl& model = opened.impl();
  const int64_t context =
      model.fitting_context({.context = options.context, .cache = options.cache}, options.parallel);
  ServedModel served =
      served_model(model, options.name.empty() ? name_of_model(path) : options.name, context);
  const std::string name = served.name;
  const Network& network = model.load(context, options.cache, progress, options.parallel);
  Metrics metrics;
  Scheduler scheduler(model.pool, network, options.cache, model.tokenizer(),
                      {.parallel = options.parallel, .waiting = options.queue});
  Service service(std::move(served), scheduler, metrics,
                  std::chrono::seconds(options.request_seconds));
  // Some connections more than there can be requests for texts: for what asks how things stand, and
  // for those that are to be told that the queue is full.
  const HttpServer server(service, scheduler, metrics,
                          {.host = options.host,
                           .port = options.port,
                           .api_key = options.api_key,
                           .body_bytes = options.body_bytes,
                           .connections = options.parallel + options.queue + 32});
  if (on_ready) {
    const bool v6 = options.host.find(':') != std::string::npos;
    on_ready({.url = fmt::format("http://{}{}{}:{}", v6 ? "[" : "", options.host, v6 ? "]" : "",
                                 server.port()),
              .model = name,
              .port = server.port(),
              .context = context});
  }
  while (!stop || !stop()) std::this_thread::sleep_for(kTick);
  scheduler.drain();
  while (server.answering() > 0) std::this_thread::sleep_for(kTick);
}

}  // namespace watersic
