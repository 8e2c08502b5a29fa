// GGUF (io/gguf.h), and the model that its keys describe (checkpoint/open_checkpoint.h).
#include "io/gguf.h"

#include <map>
#include <nlohmann/json.hpp>

#include "checkpoint/gguf_layout.h"
#include "checkpoint/open_checkpoint.h"
#include "fuzz.h"
#include "io/gguf_writer.h"
#include "support/tiny_models.h"
#include "tokenizer/gguf_vocabulary.h"

namespace watersic {
namespace {

// A tokenizer that a GGUF file can say: no token is normalized, and all merges that the vocabulary
// allows are there if its merges are SentencePiece's.
Json tokenizer_of(const std::string& name, bool sentence_piece) {
  Json json = read_json(std::string(WATERSIC_SOURCE_DIR "/tests/data/tokenizers/synthetic/") +
                        name + ".json")
                  .at("tokenizer");
  for (Json& token : json["added_tokens"]) token["normalized"] = false;
  if (!sentence_piece) return json;
  const Json& vocabulary = json["model"]["vocab"];
  std::map<int, std::string> by_id;
  for (const auto& [token, id] : vocabulary.items()) by_id[id.get<int>()] = token;
  Json merges = Json::array();
  for (const auto& [id, token] : by_id) {
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const std::string left = token.substr(0, cut), right = token.substr(cut);
      if (vocabulary.contains(left) && vocabulary.contains(right))
        merges.push_back(left + " " + right);
    }
  }
  json["model"]["merges"] = std::move(merges);
  return json;
}

// With zeros as weights, and as few bytes as may be: what is of interest is the head.
std::string model(const std::string& kind, const std::string& tokenizer) {
  Json json = tiny_config(kind);
  json["num_hidden_layers"] = 1;
  json["intermediate_size"] = 256;  // rows of superblocks
  json["vocab_size"] = 400;
  const ModelConfig config = parse_config(json, kind);
  return written([&](const std::string& path) {
    GgufMetadata metadata;
    add_gguf_config(metadata, config, kind);
    const bool sentence_piece = tokenizer == "llama2";
    add_gguf_tokenizer(
        metadata, {.tokenizer = tokenizer_of(tokenizer, sentence_piece).dump()},
        {.vocabulary = config.vocabulary, .bos = 1, .eos = 2, .pre = sentence_piece ? "" : "qwen2"},
        kind);
    // Matrices of all types whose blocks fit, in turn.
    uint32_t type = 0;
    const auto next_type = [&](const ModelTensor& tensor) {
      if (tensor.is_vector) return GgufType::kF32;
      while (true) {
        const auto next = static_cast<GgufType>(type++ % 40);
        if (is_readable(next) && tensor.shape.cols % block_values(next) == 0) return next;
      }
    };
    std::vector<GgufTensorSpec> specs;
    const std::vector<float> divisors = gguf_rope_divisors(config);
    if (!divisors.empty()) {
      specs.push_back({.name = kGgufRopeDivisors,
                       .cols = static_cast<int64_t>(divisors.size()),
                       .is_vector = true});
    }
    for (const ModelTensor& tensor : model_tensors(config)) {
      specs.push_back({.name = gguf_name(tensor.name),
                       .type = next_type(tensor),
                       .rows = tensor.shape.rows,
                       .cols = tensor.shape.cols,
                       .is_vector = tensor.is_vector});
    }
    GgufWriter writer(path, metadata, specs);
    if (!divisors.empty()) writer.write(divisors);
    for (size_t i = divisors.empty() ? 0 : 1; i < specs.size(); ++i)
      writer.write_stored(std::vector<std::byte>(static_cast<size_t>(specs[i].rows) *
                                                 row_bytes(specs[i].type, specs[i].cols)));
    writer.commit();
  });
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {model("llama", "llama3"), model("mistral", "llama2"), model("qwen3", "qwen")};
}

void fuzz_input(const std::string& input) {
  const std::string path = fuzz_file(input);
  const GgufFile file(path);
  for (const auto& tensor : file.tensors()) {
    try {
      file.read_rows(tensor, std::vector<int32_t>{0});
      file.read(tensor);
    } catch (const Error&) {
      // Another of its tensors may be read.
    }
  }
  const auto checkpoint = open_checkpoint(path);
  checkpoint->tokenizer().encode("Hello, world 12345");
  for (const std::string& name : checkpoint->weights().names()) checkpoint->weights().matrix(name);
}

// Most often in the head; the weights are zeros.
std::string fuzz_mutate(const std::string& input, Rng& rng) {
  const size_t head = input.find(std::string(256, '\0'));
  if (head == std::string::npos || rng.below(4) == 0) return mutate_bytes(input, rng);
  std::string out = mutate_bytes(input.substr(0, head), rng);
  out += input.substr(head);
  return out;
}

}  // namespace watersic
