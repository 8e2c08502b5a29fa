// A model that is open.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "arrays.h"
#include "call.h"
#include "checks.h"
#include "module.h"
#include "text_stream.h"
#include "watersic/model_layer.h"
#include "watersic/session.h"

namespace watersic::python {
namespace {

using Ids = std::vector<int32_t>;
using Messages = std::vector<std::pair<std::string, std::string>>;  // roles and contents
using Released = nb::call_guard<nb::gil_scoped_release>;

std::vector<ChatMessage> messages_of(const Messages& said) {
  std::vector<ChatMessage> messages;
  for (const auto& [role, content] : said) messages.push_back({role, content});
  return messages;
}

// Begins to write behind a text, tokens or a conversation, in a session no longer than it takes.
std::unique_ptr<TextStream> write(const Model& model,
                                  std::variant<std::string, Ids, Messages> prompt, int64_t tokens,
                                  const Sampling& sampling, const std::string& cache) {
  const auto cache_type = from_name<CacheType>(cache);
  none_or_more("max_tokens", tokens);
  Ids ids;
  std::vector<ChatMessage> messages;
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    ids = model.tokenize(*text);
  } else if (auto* given = std::get_if<Ids>(&prompt)) {
    ids = std::move(*given);
  } else {
    messages = messages_of(std::get<Messages>(prompt));
    ids = model.chat_tokens(messages);
  }
  constexpr int64_t kDefaultTokens = 256;  // as generate.h says
  const int64_t context =
      std::min(model.info().context,
               std::max<int64_t>(1, std::ssize(ids)) + (tokens > 0 ? tokens : kDefaultTokens));
  const SessionOptions options{.context = context, .cache = cache_type, .sampling = sampling};
  const auto session = std::make_shared<Session>(model, options);
  return std::make_unique<TextStream>([=](const TextFn& on_text) {
    if (!messages.empty()) return session->chat(messages, tokens, on_text);
    session->append(ids);
    return session->generate(tokens, on_text);
  });
}

// Tokens may end within a character, or make none.
nb::str text_of(const std::string& bytes) {
  return nb::steal<nb::str>(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
}

nb::list scores_of(const Model& model, const std::vector<std::pair<Ids, size_t>>& given,
                   nb::object progress) {
  std::vector<ScoredSequence> sequences;
  for (const auto& [ids, first] : given) sequences.push_back({.tokens = ids, .first = first});
  Call call(std::move(progress));
  const auto scores = call.run([&] { return model.score(sequences, call.progress()); });
  nb::list out;
  for (const auto& sequence : scores) {
    std::vector<double> log_probabilities;
    nb::list likeliest;
    for (const ScoredToken& token : sequence) {
      log_probabilities.push_back(token.log_probability);
      likeliest.append(token.likeliest);
    }
    out.append(nb::make_tuple(to_array(std::move(log_probabilities)), likeliest));
  }
  return out;
}

void add_layer(nb::module_& m) {
  nb::class_<ModelLayer>(m, "Layer",
                         "A matrix of a model, as the model holds it. Where embedding and head are "
                         "held as one matrix in "
                         "another basis, the embedding has rows alone and the head products.")
      .def_prop_ro("outputs", &ModelLayer::outputs)
      .def_prop_ro("inputs", &ModelLayer::inputs)
      .def_prop_ro("bytes", &ModelLayer::bytes, "Of memory.")
      .def_prop_ro("has_bias", &ModelLayer::has_bias)
      .def(
          "apply",
          [](const ModelLayer& layer, const AnyArray& X) {
            const auto inputs = to_matrix<float>(X, "X");
            Matrix<float> Y;
            {
              const nb::gil_scoped_release released;
              Y = layer.apply(inputs);
            }
            return to_array(std::move(Y));
          },
          nb::arg("X"),
          "Y = X V^T + bias: tokens x outputs, float32, of X, tokens x inputs. X must be finite.")
      .def(
          "rows",
          [](const ModelLayer& layer, const Ids& ids) {
            Matrix<float> rows;
            {
              const nb::gil_scoped_release released;
              rows = layer.rows(ids);
            }
            return to_array(std::move(rows));
          },
          nb::arg("ids"), "Rows of V, len(ids) x inputs, float32: what an embedding is read by.");
}

}  // namespace

void add_model(nb::module_& m) {
  add_layer(m);
  nb::class_<TensorInfo>(m, "TensorInfo")
      .def_ro("name", &TensorInfo::name)
      .def_ro("rows", &TensorInfo::rows)
      .def_ro("cols", &TensorInfo::cols)
      .def_ro("is_vector", &TensorInfo::is_vector);
  nb::class_<MemoryUse>(m, "MemoryUse", "Bytes.")
      .def_ro("weights", &MemoryUse::weights)
      .def_ro("cache", &MemoryUse::cache, "Keys and values of one text at its full length.")
      .def_ro("scratch", &MemoryUse::scratch, "Activations, at most.")
      .def_ro("machine", &MemoryUse::machine, "What there is; 0 where the system does not tell.");
  nb::class_<ModelInfo>(m, "ModelInfo")
      .def_ro("name", &ModelInfo::name, "The path as given.")
      .def_ro("architecture", &ModelInfo::architecture)
      .def_ro("context", &ModelInfo::context, "Tokens.")
      .def_ro("vocabulary", &ModelInfo::vocabulary, "Tokens.")
      .def_ro("weight_bytes", &ModelInfo::weight_bytes, "In memory.")
      .def_ro("first_token", &ModelInfo::first_token)
      .def_ro("ends", &ModelInfo::ends);
  nb::class_<Sampling>(m, "Sampling")
      .def(nb::init<>())
      .def_rw("temperature", &Sampling::temperature)
      .def_rw("top_k", &Sampling::top_k)
      .def_rw("top_p", &Sampling::top_p)
      .def_rw("min_p", &Sampling::min_p)
      .def_rw("seed", &Sampling::seed);
  nb::class_<Model>(m, "Model")
      .def_static(
          "open",
          [](const std::filesystem::path& path, const std::string& weights, int64_t threads) {
            const OpenOptions options{.threads = thread_count(threads),
                                      .weights = from_name<WeightFormat>(weights)};
            return std::make_unique<Model>(path, options);
          },
          nb::arg("path"), nb::arg("weights"), nb::arg("threads"), Released())
      .def("info", &Model::info)
      .def("model_id", &Model::model_id, Released())
      .def("memory", [](const Model& model) { return model.memory(); })
      .def("tokenize", &Model::tokenize, nb::arg("text"), nb::arg("special"), Released())
      .def(
          "detokenize",
          [](const Model& model, const Ids& ids) { return text_of(model.detokenize(ids)); },
          nb::arg("ids"))
      .def(
          "chat_tokens",
          [](const Model& model, const Messages& messages) {
            return model.chat_tokens(messages_of(messages));
          },
          nb::arg("messages"), Released())
      .def(
          "chat_text",
          [](const Model& model, const Messages& messages, bool open) {
            return model.chat_text(messages_of(messages), open);
          },
          nb::arg("messages"), nb::arg("open"), Released())
      .def("write", &write, nb::arg("prompt"), nb::arg("tokens"), nb::arg("sampling"),
           nb::arg("cache"), Released())
      .def(
          "logits",
          [](const Model& model, const Ids& ids, nb::object progress) {
            Call call(std::move(progress));
            return to_array(call.run([&] { return model.logits(ids, call.progress()); }));
          },
          nb::arg("ids"), nb::arg("progress").none())
      .def("score", &scores_of, nb::arg("sequences"), nb::arg("progress").none())
      .def(
          "perplexity",
          [](const Model& model, const std::string& text, int64_t context, nb::object progress) {
            Call call(std::move(progress));
            none_or_more("context", context);
            return call.run([&] { return model.perplexity(text, context, call.progress()); });
          },
          nb::arg("text"), nb::arg("context"), nb::arg("progress").none())
      .def("tensors", &Model::tensors)
      .def(
          "tensor",
          [](const Model& model, const std::string& name) {
            Matrix<float> values;
            {
              const nb::gil_scoped_release released;
              values = model.tensor(name);
            }
            return to_array(std::move(values));
          },
          nb::arg("name"))
      .def("text", &Model::text, nb::arg("file"), Released())
      .def(
          "layer",
          [](const Model& model, const std::string& weight) { return ModelLayer(model, weight); },
          nb::arg("weight"), Released());
}

}  // namespace watersic::python
