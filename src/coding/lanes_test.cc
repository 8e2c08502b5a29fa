// Every instruction set decodes what the scalar reference does.
#include <gtest/gtest.h>

#include <hwy/highway.h>

#include <algorithm>
#include <vector>

#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"
#include "coding/sample_tensors.h"

namespace watersic {
namespace {

// body(whether the target has vectors)
template <class Body>
void on_each_target(const Body& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    body(target != HWY_SCALAR && target != HWY_EMU128);
  }
  hwy::SetSupportedTargetsForTest(0);
}

// Symbols of one slot each in a table of 2^8: a state x becomes x >> 8, and lanes below 2^16 take
// words.
TEST(Lanes, TakeWordsInTurn) {
  const std::vector<uint32_t> entries(256, 5U << 16);  // the integer 5, frequency 1, offset 0
  const std::vector<uint16_t> words = {11, 22, 33, 44, 55, 66, 77, 88, 99, 1, 2, 3, 4, 5, 6, 7};
  for (const int active : {8, 16}) {
    on_each_target([&](bool vectors) {
      Lanes lanes = {};
      lanes.active = active;
      lanes.precision = 8;
      lanes.base = -2;
      for (int l = 0; l < active; ++l) lanes.states[l] = l % 3 == 1 ? 1U << 24 : 1U << 16;
      std::vector<int32_t> out(16);
      const auto bytes = std::as_bytes(std::span(words)).first(static_cast<size_t>(2 * active));
      // Where nothing else is readable: the sanitizer would see it.
      const std::vector<std::byte> exact(bytes.begin(), bytes.end());
      const int64_t taken =
          decode_rows_vector(exact.data(), entries.data(), lanes, out.data(), active, 0, 1);
      if (!vectors) {
        EXPECT_EQ(taken, -1);
        return;
      }
      size_t next = 0;
      for (int l = 0; l < active; ++l) {
        EXPECT_EQ(out[static_cast<size_t>(l)], 3);
        EXPECT_EQ(lanes.states[l], l % 3 == 1 ? 1U << 16 : 1U << 24 | words[next++]) << l;
      }
      EXPECT_EQ(taken, static_cast<int64_t>(next));
    });
  }
}

struct Shape {
  int64_t rows, cols;
  int lanes;
  int64_t segment_rows, group_columns;
};

// 32 lanes and last passes of 1, 4, 8, 12, 16, 24 and 31 columns; few rows, where the streams end
// before vectors may read; fewer lanes than a vector has.
const Shape kShapes[] = {{1, 64, 32, 1, 64},     {2, 33, 32, 2, 33},     {3, 36, 32, 3, 36},
                         {150, 40, 32, 150, 40}, {150, 44, 32, 70, 44},  {150, 48, 32, 64, 48},
                         {150, 56, 32, 33, 56},  {150, 63, 32, 150, 63}, {90, 200, 64, 90, 160},
                         {90, 50, 16, 40, 20},   {90, 30, 8, 90, 30},    {90, 30, 4, 90, 30},
                         {90, 5, 1, 90, 5}};

class LanesOf : public testing::TestWithParam<int> {};  // states of the trellis

TEST_P(LanesOf, EqualTheScalarReference) {
  ThreadPool pool(1);
  for (const Shape& shape : kShapes) {
    for (const double octaves : {0.0, 1.0}) {  // without classes of rows, with them
      QuantizedTensor q = gaussian({.rows = shape.rows,
                                    .cols = shape.cols,
                                    .spread = 1.5,
                                    .column_octaves = 1,
                                    .row_octaves = octaves,
                                    .trellis = GetParam(),
                                    .segment_rows = shape.segment_rows});
      // Escapes, in the last row, where any path may go.
      for (int64_t i = 0; i < shape.cols; i += 7) q.codes(shape.rows - 1, i) += 40000;
      CodingPlan plan;
      plan.lanes = shape.lanes;
      plan.segment_rows = shape.segment_rows;
      plan.group_columns = shape.group_columns;
      const auto blob = encode_tensor(q, plan, pool);
      SCOPED_TRACE(testing::Message() << shape.rows << " x " << shape.cols << ", lanes "
                                      << shape.lanes << ", octaves " << octaves);
      const auto scalar = decode_tensor(blob, pool, "test", DecoderKind::kScalar);
      ASSERT_TRUE(std::ranges::equal(scalar.codes.values(), q.codes.values()));
      on_each_target([&](bool /*vectors*/) {
        const auto best = decode_tensor(blob, pool, "test");
        EXPECT_TRUE(std::ranges::equal(best.codes.values(), q.codes.values()));
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Trellises, LanesOf, testing::Values(0, 4, 64, 256));

}  // namespace
}  // namespace watersic
