#include "watersic/options.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "quant/method.h"
#include "quant/option_table.h"
#include "watersic/error.h"

namespace watersic {
namespace {

template <class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const Error& e) {
    return e.what();
  }
  return "none";
}

TEST(Names, GoBothWays) {
  EXPECT_EQ(from_name<Method>("huffman-gptq"), Method::kHuffmanGptq);
  EXPECT_STREQ(name_of(Method::kRtn), "rtn");
  EXPECT_STREQ(name_of(Coder::kPooled), "pooled");
  EXPECT_EQ(joined_names<RateTarget>("|"), "file|paper");
  EXPECT_EQ(error_of([] { from_name<Coder>("best"); }), "expected classes or pooled, found 'best'");
  EXPECT_THROW(from_name<Method>("awq"), Error);
}

TEST(Options, WhatHasNoMeaningIsRefused) {
  const auto check = [](const QuantizerOptions& options) {
    return error_of([&] { check_options(options); });
  };
  EXPECT_EQ(check({}), "none");
  EXPECT_EQ(check({.method = Method::kGptq, .bits = 3, .group_size = 128}), "none");
  EXPECT_EQ(check({.method = Method::kGptq, .bits = 2.5}),
            "bits: method gptq takes the width of an integer grid: expected 1 to 8, found 2.5");
  EXPECT_EQ(check({.group_size = 128}), "group-size: has no meaning for method watersic");
  EXPECT_EQ(check({.method = Method::kRtn, .damping = 0.1}),
            "damping: has no meaning for method rtn");
  EXPECT_EQ(check({.method = Method::kGptq, .rescalers = false}),
            "rescalers: has no meaning for method gptq");
  EXPECT_EQ(check({.bits = 20}), "bits: expected 0.05 to 16, found 20");
  EXPECT_EQ(check({.group_size = -1}), "group-size: expected 0 or more, found -1");
  EXPECT_EQ(check({.dead_threshold = std::nan("")}), "dead-threshold: expected 0 to 1, found nan");
  EXPECT_NE(check({.trellis = 5}).find("trellis"), std::string::npos);
  EXPECT_NE(check({.method = Method::kGptq,
                   .bits = 2,
                   .activation_order = true,
                   .order = ColumnOrder::kRising})
                .find("activation-order"),
            std::string::npos);
}

TEST(Options, AreSetByName) {
  QuantizerOptions options;
  set_option(options, "bits", "2.5");
  set_option(options, "dead-threshold", "1e-2");
  set_option(options, "lmmse", "off");
  set_option(options, "order", "rising");
  set_option(options, "rate", "paper");
  EXPECT_EQ(options.bits, 2.5);
  EXPECT_EQ(options.dead_threshold, 1e-2);
  EXPECT_EQ(options.lmmse, false);
  EXPECT_EQ(options.order, ColumnOrder::kRising);
  EXPECT_EQ(options.rate, RateTarget::kPaper);
  const auto wrong = [&](const char* name, const char* value) {
    return error_of([&] { set_option(options, name, value); });
  };
  EXPECT_EQ(wrong("bits", "two"), "bits: expected a number, found 'two'");
  EXPECT_EQ(wrong("trellis", "8.5"), "trellis: expected a number, found '8.5'");
  EXPECT_EQ(wrong("rotate", "yes"), "rotate: expected on or off, found 'yes'");
  EXPECT_EQ(wrong("coder", "best"), "coder: expected classes or pooled, found 'best'");
  EXPECT_NE(wrong("bit", "2").find("expected one of bits, method"), std::string::npos);
}

TEST(Options, OfSingleLayersAreThoseThatMayDiffer) {
  QuantizerOptions options;
  set_options(options, parse_settings("bits=3,trellis=0"));
  EXPECT_EQ(options.bits, 3);
  EXPECT_EQ(options.trellis, 0);
  for (const char* text : {"seed=2", "rate=paper"})
    EXPECT_THROW(set_options(options, parse_settings(text)), Error) << text;
  EXPECT_EQ(error_of([] { parse_settings("bits=3,trellis"); }),
            "expected name=value, found 'trellis'");
}

TEST(Options, AreDescribed) {
  using Kind = OptionInfo::Kind;
  std::map<std::string, OptionInfo> known;
  for (const OptionInfo& option : describe_options(QuantizerOptions{}))
    EXPECT_TRUE(known.emplace(option.name, option).second) << option.name;
  EXPECT_EQ(known.at("bits").kind, Kind::kValue);
  EXPECT_EQ(known.at("rescalers").kind, Kind::kOn);
  EXPECT_EQ(known.at("rotate").kind, Kind::kOff);
  EXPECT_EQ(known.at("lmmse").kind, Kind::kLeftOpen);
  EXPECT_EQ(known.at("order").values, "native|falling|rising");
}

TEST(Methods, SettleWhatIsLeftOpen) {
  EXPECT_EQ(settled({}).trellis, 64);
  EXPECT_EQ(settled({.trellis = 0}).trellis, 0);
  EXPECT_EQ(settled({.method = Method::kGptq}).damping, 0.1);
  EXPECT_EQ(settled({.method = Method::kHuffmanRtn}).damping, 0);
  EXPECT_TRUE(can_have_bits(Method::kHuffmanRtn, 2.5));
  EXPECT_FALSE(can_have_bits(Method::kRtn, 2.5));
}

}  // namespace
}  // namespace watersic
