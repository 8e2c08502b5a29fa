// Whatever the bytes say: an Error, or a tensor of bounded size.
#include <gtest/gtest.h>

#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"
#include "support/sample_tensors.h"
#include "watersic/error.h"

namespace watersic {
namespace {

class Damage : public testing::TestWithParam<int> {};

TEST_P(Damage, EveryByte) {
  const int trellis = GetParam();
  QuantizedTensor q = gaussian({.rows = 48,
                                .cols = 40,
                                .spread = 1.5,
                                .column_octaves = 1,
                                .row_octaves = 1,
                                .trellis = trellis,
                                .segment_rows = 24});
  q.codes(47, 3) += 12344;
  q.cols = 42;
  q.dead = {2, 9};
  q.row_scale = {.exponent = 0, .half = std::vector<uint16_t>(48, 0x3C00)};
  q.column_scale = {.exponent = -4, .half = std::vector<uint16_t>(40, 0x3555)};
  CodingPlan plan;
  plan.lanes = 4;
  plan.segment_rows = 24;
  ThreadPool pool(1);
  const auto blob = encode_tensor(q, plan, pool);
  const TensorSummary summary = summarize_tensor(blob, "layer");
  EXPECT_EQ(summary.tiles, 2);
  EXPECT_TRUE(summary.row_classes);
  const size_t head = blob.size() / 4;  // its end, about
  int errors = 0, changed = 0;
  for (size_t i = 0; i < blob.size(); ++i) {
    for (const int mask : {0x01, 0x80, 0xFF, 0x10}) {
      auto bad = blob;
      bad[i] ^= static_cast<std::byte>(mask);
      try {
        const QuantizedTensor d = decode_tensor(bad, pool, "layer");
        EXPECT_EQ(d.codes.size(), d.rows * d.live());
        EXPECT_LE(d.codes.size(), static_cast<int64_t>(blob.size()) << 20);
        changed += i >= head ? 1 : 0;
      } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("layer"), std::string::npos);
        errors += i >= head ? 1 : 0;
      }
    }
  }
  // A changed stream is seen in the lanes' last states; the value of an escape is not (the
  // container's checksums see it).
  EXPECT_GT(errors, 400);
  EXPECT_LE(changed, errors / 30);
  for (size_t n = 0; n < blob.size(); ++n)
    EXPECT_THROW(decode_tensor(std::span(blob).first(n), pool, "layer"), Error) << n;
  auto longer = blob;
  longer.resize(blob.size() + 2);
  EXPECT_THROW(decode_tensor(longer, pool, "layer"), Error);
}

INSTANTIATE_TEST_SUITE_P(Trellises, Damage, testing::Values(0, 8));

TEST(Noise, IsNoTensor) {
  Rng rng(5);
  ThreadPool pool(1);
  int decoded = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::byte> noise(rng.below(200) * 2);
    for (std::byte& b : noise) b = static_cast<std::byte>(rng.bits() & 0xFF);
    if (!noise.empty())
      noise[0] = static_cast<std::byte>(1 + noise.size() % 2);  // the version, to get past it
    try {
      decode_tensor(noise, pool, "noise");
      ++decoded;
    } catch (const Error&) {
    }
  }
  EXPECT_LT(decoded, 10);
}

}  // namespace
}  // namespace watersic
