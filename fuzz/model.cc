// A .wsic file as a model: its configuration against its tensors, its tokenizer, its layers as they
// run (runtime/open_model.h). The file's own form is fuzz_container's.
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "coding/enc_tensor.h"
#include "container/write_container.h"
#include "fuzz.h"
#include "model/config.h"
#include "runtime/load_network.h"
#include "support/bitshift_tensors.h"
#include "support/sample_tensors.h"
#include "support/tiny_models.h"
#include "tokenizer/tokenizer.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr const char* kKinds[] = {"llama", "qwen2"};

// The tensors of a tiny model of that kind: vectors kept, matrices quantized, in the runnable
// layout all but the first and every fourth after it.
struct Tensor {
  std::string name;
  WeightSource::Shape shape;
  std::vector<std::byte> coded;  // empty: kept
};
const std::vector<Tensor>& tensors_of(const std::string& kind, bool runnable) {
  static std::map<std::pair<std::string, bool>, std::vector<Tensor>> known;
  std::vector<Tensor>& tensors = known[{kind, runnable}];
  if (!tensors.empty()) return tensors;
  ThreadPool pool(1);
  int matrices = 0;
  for (const ModelTensor& tensor : model_tensors(parse_config(tiny_config(kind), "config.json"))) {
    tensors.push_back({.name = tensor.name, .shape = tensor.shape, .coded = {}});
    if (tensor.is_vector) continue;
    const auto& [rows, cols] = tensor.shape;
    tensors.back().coded = encode_tensor(
        runnable && matrices++ % 4 != 0
            ? bitshift_tensor({.rows = rows, .live = cols - 2, .memory = 8, .ordered = rows > 40})
            : gaussian(rows, cols, 1.5),
        pool);
  }
  return tensors;
}

void write_model(const std::string& path, const Json& recipe) {
  ContainerWriter writer(path);
  for (const auto& [name, text] : recipe.at("texts").items())
    writer.add_text(name, text.is_string() ? text.get<std::string>() : text.dump());
  for (const Tensor& tensor : tensors_of(recipe.at("kind") == kKinds[0] ? kKinds[0] : kKinds[1],
                                         recipe.value("runnable", false))) {
    const std::string name = recipe.at("rename").value(tensor.name, tensor.name);
    if (!tensor.coded.empty()) {
      writer.add_quantized(name, tensor.shape.rows, tensor.shape.cols, tensor.coded);
    } else {
      const std::vector<uint16_t> ones(static_cast<size_t>(tensor.shape.rows * tensor.shape.cols),
                                       0x3F80);
      writer.add_raw(name, SectionKind::kBf16, {static_cast<int64_t>(ones.size())}, ones);
    }
  }
  writer.finish("fuzz", Json::object());
}

}  // namespace

// An input says what is in the file: its texts by name, the layout, and tensors that have another
// name.
std::vector<std::string> fuzz_seeds() {
  const Json tokenizer =
      read_json(WATERSIC_SOURCE_DIR "/tests/data/tokenizers/synthetic/gpt2.json").at("tokenizer");
  std::vector<std::string> seeds;
  for (const char* kind : kKinds) {
    for (const bool runnable : {false, true})
      seeds.push_back(
          Json({{"kind", kind},
                {"runnable", runnable},
                {"texts", {{"config.json", tiny_config(kind)}, {"tokenizer.json", tokenizer}}},
                {"rename", {{"model.layers.7.mlp.up_proj.weight", "model.norm.weight"}}}})
              .dump());
  }
  return seeds;
}

void fuzz_input(const std::string& input) {
  static const std::string path = fuzz_file("");
  try {
    write_model(path, parse_json(input, "recipe"));
  } catch (const Json::exception&) {
    return;  // no recipe
  }
  ThreadPool pool(1);
  const auto model = open_model(path, pool);
  // A vocabulary that need not be the model's.
  try {
    model->tokenizer().encode("It was the best of times.");
  } catch (const Error&) {
  }
  for (const WeightFormat format : {WeightFormat::kPacked, WeightFormat::kFloat32}) {
    network_bytes(*model, format);
    load_network(pool, *model, format);
  }
}

std::string fuzz_mutate(const std::string& input, Rng& rng) { return mutate_json(input, rng); }

}  // namespace watersic
