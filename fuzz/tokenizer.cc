// tokenizer.json, and text through what it says (tokenizer/tokenizer.h).
#include "tokenizer/tokenizer.h"

#include <nlohmann/json.hpp>

#include "fuzz.h"

namespace watersic {

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (const char* name : {"gpt2", "llama2", "llama3", "metaspace", "qwen"}) {
    const std::string path =
        std::string(WATERSIC_SOURCE_DIR "/tests/data/tokenizers/synthetic/") + name + ".json";
    seeds.push_back(read_json(path).at("tokenizer").dump());
  }
  return seeds;
}

void fuzz_input(const std::string& input) {
  const Tokenizer tokenizer = Tokenizer::parse(input, "", "tokenizer.json");
  tokenizer.vocabulary_size();
  tokenizer.bos_id();
  for (const char* text : {"", "Hello, world's 12345 \n\n <s> \u00e9\u0301\u4e16\U0001F600  x"}) {
    const std::vector<int32_t> ids = tokenizer.encode(text);
    tokenizer.decode(ids);
    for (const int32_t id : ids) tokenizer.token_bytes(id);
  }
  tokenizer.decode(std::vector<int32_t>{-1, 0, 1, 2, 1 << 30});
}

std::string fuzz_mutate(const std::string& input, Rng& rng) {
  return rng.below(4) == 0 ? mutate_bytes(input, rng) : mutate_json(input, rng);
}

}  // namespace watersic
