// .wsic (container/read_container.h), with checksums that are right: anyone can write those.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "coding/enc_tensor.h"
#include "container/read_container.h"
#include "container/write_container.h"
#include "fuzz.h"
#include "support/sample_tensors.h"

namespace watersic {

std::vector<std::string> fuzz_seeds() {
  return {written([](const std::string& path) {
    ThreadPool pool(1);
    ContainerWriter writer(path);
    writer.add_text("config.json", R"({"model_type": "llama"})");
    writer.add_raw("model.norm.weight", SectionKind::kBf16, {5}, std::vector<uint16_t>(5, 1));
    writer.add_raw("model.embed_tokens.weight", SectionKind::kF16, {3, 7},
                   std::vector<uint16_t>(21, 0x3C00));
    for (const char* name :
         {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"})
      writer.add_quantized(name, 16, 12, encode_tensor(gaussian(16, 12, 1.5), pool));
    writer.finish("fuzz", Json::object());
  })};
}

void fuzz_input(const std::string& input) {
  ThreadPool pool(1);
  const ContainerReader reader(fuzz_file(input));
  for (const Section& section : reader.sections()) {
    try {
      switch (section.kind) {
        case SectionKind::kText:
          reader.text(section.name);
          break;
        case SectionKind::kQuantized:
          reader.quantized(section.name, pool);
          break;
        default:
          reader.raw(section.name);
      }
    } catch (const Error&) {
      // Another section may be whole.
    }
  }
  reader.verify(pool);
}

std::string fuzz_mutate(const std::string& input, Rng& rng) {
  std::string out = input;
  // Most often the header or the table: what else there is has a reader and a target of its own.
  const uint64_t table =
      input.size() < kHeaderBytes ? 0 : read_number(std::as_bytes(std::span(input)).subspan(16), 8);
  if (table >= kHeaderBytes && table < input.size() && rng.below(4) != 0) {
    out = input.substr(0, table) + mutate_bytes(input.substr(table), rng);
    if (rng.below(2) == 0) {  // and its length is what the header says
      std::vector<std::byte> length;
      append_number(length, out.size() - table, 8);
      std::ranges::copy(length, reinterpret_cast<std::byte*>(out.data()) + 24);
    }
  } else {
    out = mutate_bytes(std::move(out), rng);
  }
  if (out.size() < kHeaderBytes) return out;
  const auto all = std::as_bytes(std::span(out));
  const uint64_t begin = std::min<uint64_t>(read_number(all.subspan(16), 8), out.size());
  const std::span<const std::byte> pieces[] = {all.first(48), all.subspan(begin)};
  std::ranges::copy(hash128(pieces), reinterpret_cast<std::byte*>(out.data()) + 48);
  return out;
}

}  // namespace watersic
