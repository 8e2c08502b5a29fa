#include "report/numbers.h"

#include <gtest/gtest.h>

#include <cmath>

namespace watersic::report {
namespace {

TEST(Numbers, SignificantDigits) {
  EXPECT_EQ(significant(113.8956, 5), "113.90");
  EXPECT_EQ(significant(0.0161083, 3), "0.0161");
  EXPECT_EQ(significant(0.99996, 4), "1.000");
  EXPECT_EQ(significant(9.9996, 4), "10.00");
  EXPECT_EQ(significant(8.609e-5, 3), "8.61e-5");
  EXPECT_EQ(significant(-0.25, 2), "−0.25");
  EXPECT_EQ(significant(1234567, 3), "1234567");
  EXPECT_EQ(significant(12345678, 3), "1.23e7");
  EXPECT_EQ(significant(0, 3), "0");
  EXPECT_EQ(significant(NAN, 3), "–");
  EXPECT_EQ(significant(INFINITY, 3), "–");
}

TEST(Numbers, FixedDecimals) {
  EXPECT_EQ(fixed(1.97549, 3), "1.975");
  EXPECT_EQ(fixed(-1.5, 1), "−1.5");
  EXPECT_EQ(fixed(-0.0001, 2), "0.00");
  EXPECT_EQ(signed_fixed(1.21, 2), "+1.21");
  EXPECT_EQ(signed_fixed(-1.21, 2), "−1.21");
  EXPECT_EQ(signed_fixed(0.001, 2), "0.00");
  EXPECT_EQ(plain(2), "2");
  EXPECT_EQ(plain(1.5), "1.5");
  EXPECT_EQ(bits_word(1), "1 bit");
  EXPECT_EQ(bits_word(1.5), "1.5 bits");
  EXPECT_EQ(percent(0.91176), "91.2%");
}

TEST(Numbers, Grouped) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1\u202F000");
  EXPECT_EQ(grouped(4423680), "4\u202F423\u202F680");
  EXPECT_EQ(grouped(-12345), "−12\u202F345");
}

TEST(Numbers, Units) {
  EXPECT_EQ(bytes(512), "512\u00A0bytes");
  EXPECT_EQ(bytes(1024), "1.00\u00A0KiB");
  EXPECT_EQ(bytes(1023.9 * 1024), "1.00\u00A0MiB");
  EXPECT_EQ(bytes(3246002), "3.10\u00A0MiB");
  EXPECT_EQ(bytes(1.6e10), "14.9\u00A0GiB");
  EXPECT_EQ(duration(0.0004), "0.4\u00A0ms");
  EXPECT_EQ(duration(0.038), "38\u00A0ms");
  EXPECT_EQ(duration(0.9999), "1.00\u00A0s");
  EXPECT_EQ(duration(21.53), "21.5\u00A0s");
  EXPECT_EQ(duration(200), "3\u00A0min\u00A020\u00A0s");
  EXPECT_EQ(duration(3900), "1\u00A0h\u00A005\u00A0min");
}

}  // namespace
}  // namespace watersic::report
