// A coded tensor without the checksum that guards it in a file (coding/dec_tensor.h).
#include "coding/dec_tensor.h"

#include "coding/enc_tensor.h"
#include "fuzz.h"
#include "support/bitshift_tensors.h"
#include "support/sample_tensors.h"

namespace watersic {

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  ThreadPool pool(1);
  const auto add = [&](const QuantizedTensor& tensor, const CodingPlan& plan) {
    const auto blob = encode_tensor(tensor, plan, pool);
    seeds.emplace_back(reinterpret_cast<const char*>(blob.data()), blob.size());
  };
  CodingPlan plan;
  plan.lanes = 4;
  plan.segment_rows = 12;
  for (const int trellis : {0, 8, 256}) {
    for (const double octaves : {0.0, 1.0}) {
      QuantizedTensor q = gaussian({.rows = 24,
                                    .cols = 20,
                                    .spread = 1.5,
                                    .column_octaves = octaves,
                                    .row_octaves = octaves,
                                    .trellis = trellis,
                                    .segment_rows = 12});
      q.codes(23, 3) += 12344;  // an escape
      q.cols = 22;
      q.dead = {2, 9};
      q.row_scale = {.exponent = 0, .half = std::vector<uint16_t>(24, 0x3C00)};
      q.column_scale = {.exponent = -4, .half = std::vector<uint16_t>(20, 0x3555)};
      add(q, plan);
    }
  }
  QuantizedTensor grouped = gaussian(16, 12, 1.5);
  grouped.groups = 2;
  for (int i = 0; i < 12; ++i) grouped.column_group.push_back(i / 6);
  grouped.group_scale.half.assign(32, 0x3C00);
  add(grouped, {});
  QuantizedTensor rotated = gaussian(16, 12, 1.5);
  rotated.rotation = 12345;
  add(rotated, {});
  for (const bool ordered : {false, true})
    add(bitshift_tensor({.rows = 70, .live = 12, .memory = 8, .ordered = ordered}), {});
  return seeds;
}

void fuzz_input(const std::string& input) {
  ThreadPool pool(1);
  const auto blob = std::as_bytes(std::span(input));
  summarize_tensor(blob, "tensor");
  const QuantizedTensor best = decode_tensor(blob, pool, "tensor");
  const QuantizedTensor scalar = decode_tensor(blob, pool, "tensor", DecoderKind::kScalar);
  if (!std::ranges::equal(best.codes.values(), scalar.codes.values()))
    throw std::logic_error("two decoders read two things");
  dequantize(best);
}

std::string fuzz_mutate(const std::string& input, Rng& rng) { return mutate_bytes(input, rng); }

}  // namespace watersic
