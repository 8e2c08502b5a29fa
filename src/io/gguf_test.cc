#include "io/gguf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "base/rng.h"
#include "io/gguf_writer.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void append_text(std::string& out, const std::string& text) {
  append(out, static_cast<uint64_t>(text.size()));
  out += text;
}

class Gguf : public ::testing::Test {
 protected:
  Gguf() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = fs::temp_directory_path() / (std::string("watersic-") + info->name() + ".gguf");
    fs::remove(path_);
  }
  ~Gguf() override { fs::remove(path_); }

  void put(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }
  // "none" where the file is read without a complaint.
  std::string error() const {
    try {
      const GgufFile file(path_);
      for (const auto& tensor : file.tensors()) file.read(tensor);
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  }
  void expect_error(const std::string& bytes, const std::string& part) const {
    put(bytes);
    EXPECT_NE(error().find(part), std::string::npos)
        << "expected: " << part << "\nfound: " << error();
  }
  // One key and one tensor, of which a test breaks a part.
  struct Small {
    uint32_t version = 3;
    uint64_t tensors = 1, keys = 1;
    std::string value;  // type and value of the key
    uint32_t dimensions = 2;
    uint64_t cols = 4, rows = 2;
    uint32_t type = 0;
    uint64_t offset = 0;
    size_t data = 32;
  };
  static std::string bytes(const Small& small) {
    std::string out = "GGUF";
    append(out, small.version);
    append(out, small.tensors);
    append(out, small.keys);
    append_text(out, "a.key");
    if (small.value.empty()) {
      append(out, uint32_t{4});
      append(out, uint32_t{7});
    }
    out += small.value;
    append_text(out, "w");
    append(out, small.dimensions);
    append(out, small.cols);
    append(out, small.rows);
    append(out, small.type);
    append(out, small.offset);
    out.resize((out.size() + 31) / 32 * 32);
    return out + std::string(small.data, '\0');
  }

  fs::path path_;
};

std::vector<float> some_values(size_t count) {
  Rng rng(1);
  std::vector<float> values(count);
  for (float& x : values) x = static_cast<float>(rng.normal());
  return values;
}

TEST_F(Gguf, WhatIsWrittenIsRead) {
  GgufMetadata metadata;
  metadata.add_text("general.architecture", "llama");
  metadata.add_number("a.number", 4'000'000'000U);
  metadata.add_real("a.real", 0.5F);
  metadata.add_flag("a.flag", true);
  metadata.add_numbers("some.numbers", std::vector<int32_t>{1, -2});
  metadata.add_reals("some.reals", std::vector<float>{0.25F});
  metadata.add_texts("some.texts", std::vector<std::string>{"", "\u2581x"});
  const std::vector<float> values = some_values(96);
  {
    GgufWriter writer(path_, metadata,
                      {{.name = "f32", .rows = 3, .cols = 32},
                       {.name = "vector", .cols = 3, .is_vector = true},
                       {.name = "f16", .type = GgufType::kF16, .rows = 3, .cols = 32},
                       {.name = "bf16", .type = GgufType::kBF16, .rows = 3, .cols = 32},
                       {.name = "q8", .type = GgufType::kQ8_0, .rows = 3, .cols = 32}});
    const std::span<const float> all(values);
    writer.write(all.first(32));  // in parts
    writer.write(all.subspan(32));
    writer.write(all.first(3));
    for (int i = 0; i < 3; ++i) writer.write(all);
    EXPECT_FALSE(fs::exists(path_));
    writer.commit();
  }
  EXPECT_EQ(fs::file_size(path_) % kGgufAlignment, 0U);
  EXPECT_TRUE(GgufFile::is_gguf(path_));

  const GgufFile file(path_);
  EXPECT_EQ(file.metadata(), Json::parse(R"({"general.architecture": "llama",
      "a.number": 4000000000, "a.real": 0.5, "a.flag": true, "some.numbers": [1, -2],
      "some.reals": [0.25], "some.texts": ["", "▁x"]})"));
  ASSERT_EQ(file.tensors().size(), 5U);
  EXPECT_EQ(file.find("none"), nullptr);
  EXPECT_TRUE(file.find("vector")->is_vector);
  EXPECT_EQ(file.read(*file.find("vector")).cols(), 3);
  const auto compare = [&](const char* name, auto round) {
    const Matrix<float> read = file.read(*file.find(name));
    ASSERT_EQ(read.rows(), 3);
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_EQ(read.values()[i], round(values[i])) << name;
    const Matrix<float> some = file.read_rows(*file.find(name), std::vector<int32_t>{2, 0});
    for (int64_t j = 0; j < 32; ++j) {
      EXPECT_EQ(some(0, j), read(2, j));
      EXPECT_EQ(some(1, j), read(0, j));
    }
  };
  compare("f32", [](float x) { return x; });
  compare("f16", [](float x) { return float_from_half(half_from_float(x)); });
  compare("bf16", [](float x) { return float_from_bf16(bf16_from_float(x)); });
  // No more than half a step away, plus what the step was rounded by.
  const Matrix<float> q8 = file.read(*file.find("q8"));
  for (int64_t i = 0; i < 3; ++i) {
    float largest = 0;
    for (int64_t j = 0; j < 32; ++j) largest = std::max(largest, std::abs(values[i * 32 + j]));
    for (int64_t j = 0; j < 32; ++j)
      EXPECT_NEAR(q8(i, j), values[i * 32 + j], largest * (0.5 / 127 + 0x1p-11));
  }
}

TEST_F(Gguf, BlocksOfQ8) {
  std::vector<float> values(64);
  values[3] = -12.7F;
  values[4] = 0.1F;
  std::vector<std::byte> out;
  append_q8(out, values);
  ASSERT_EQ(out.size(), 2 * block_bytes(GgufType::kQ8_0));
  EXPECT_EQ(static_cast<int8_t>(out[2 + 3]), -127);
  EXPECT_EQ(static_cast<int8_t>(out[2 + 4]), 1);
  for (size_t i = block_bytes(GgufType::kQ8_0); i < out.size(); ++i)
    EXPECT_EQ(out[i], std::byte{0});  // zeros
  out.clear();
  values.assign(32, kQ8Max);
  append_q8(out, values);
  uint16_t half;
  std::memcpy(&half, out.data(), 2);
  EXPECT_EQ(float_from_half(half), 65504);
}

TEST_F(Gguf, HeadsThatDoNotDescribeTheFile) {
  put(bytes({}));
  EXPECT_EQ(error(), "none");
  expect_error("GGML" + bytes({}).substr(4), "not a GGUF file");
  expect_error("", "cut short");
  EXPECT_FALSE(GgufFile::is_gguf(path_));
  expect_error(bytes({.version = 1}), "version");
  expect_error(bytes({.version = 0x03000000}), "big-endian");
  expect_error(bytes({.tensors = uint64_t{1} << 40}), "tensors");
  expect_error(bytes({.keys = uint64_t{1} << 60}), "keys");
  expect_error(bytes({.tensors = 2}), "tensor");
  expect_error(bytes({.dimensions = 5}), "dimensions");
  expect_error(bytes({.cols = 0}), "size from 1");
  expect_error(bytes({.cols = uint64_t{1} << 63, .rows = 2}), "size from 1");
  expect_error(bytes({.cols = 1 << 30, .rows = 1 << 30}), "size from 1");
  expect_error(bytes({.cols = 4, .rows = 3}), "cut short");
  expect_error(bytes({.cols = 1 << 20, .rows = 1 << 20}), "cut short");
  expect_error(bytes({.type = 16}), "tensor 'w': type");
  expect_error(bytes({.type = 16}), "found IQ2_XXS");
  expect_error(bytes({.type = 31}), "found Q4_0_4_4");
  expect_error(bytes({.type = 77}), "type 77");
  expect_error(bytes({.cols = 4, .type = 8}), "multiple of 32 values for Q8_0, found 4");
  expect_error(bytes({.cols = 288, .type = 12}), "multiple of 256 values for Q4_K, found 288");
  expect_error(bytes({.cols = 256, .rows = 3, .type = 12, .data = 3 * 144 - 1}), "cut short");
  expect_error(bytes({.cols = 1 << 20, .rows = 1 << 20, .type = 35}), "cut short");
  expect_error(bytes({.offset = 32}), "offset");
  expect_error(bytes({.data = 31}), "cut short");
}

// Any number of rows, of whole blocks.
TEST_F(Gguf, QuantizedRows) {
  for (const uint64_t rows : {1, 3, 7}) {
    std::string all = bytes({.cols = 512, .rows = rows, .type = 12, .data = rows * 2 * 144});
    // The last block: d = 2, the last scale is 3, all integers 15.
    std::string block(144, '\xFF');
    block.replace(0, 4, std::string("\0\x40\0\0", 4));
    block.replace(4, 12, std::string("\0\0\0\0\0\0\0\0\0\0\0\x03", 12));
    all.replace(all.size() - 144, 144, block);
    put(all);
    const GgufFile file(path_);
    EXPECT_TRUE(is_quantized(file.tensors()[0].type));
    const Matrix<float> values = file.read(file.tensors()[0]);
    ASSERT_EQ(values.rows(), static_cast<int64_t>(rows));
    EXPECT_EQ(values(values.rows() - 1, 479), 0);
    EXPECT_EQ(values(values.rows() - 1, 480), 90);
    EXPECT_EQ(values(values.rows() - 1, 511), 90);
    const auto last = static_cast<int32_t>(rows - 1);
    EXPECT_EQ(file.read_rows(file.tensors()[0], std::vector<int32_t>{last})(0, 511), 90);
    // A scale that is infinite, where an integer is not 0, and a minimum.
    all[all.size() - 143] = 0x7C;
    expect_error(all, "expected finite values, found");
  }
}

// Powers of two of any size, as in ggml.
TEST_F(Gguf, Alignments) {
  const auto file = [&](uint32_t alignment) {
    std::string out = "GGUF";
    append(out, uint32_t{3});
    append(out, uint64_t{2});
    append(out, uint64_t{1});
    append_text(out, "general.alignment");
    append(out, uint32_t{4});
    append(out, alignment);
    const auto pad = [&](size_t size) {
      return alignment == 0 ? size : (size + alignment - 1) / alignment * alignment;
    };
    for (const char* name : {"a", "b"}) {
      append_text(out, name);
      append(out, uint32_t{1});
      append(out, uint64_t{3});
      append(out, uint32_t{0});
      append(out, static_cast<uint64_t>(*name == 'a' ? 0 : pad(12)));
    }
    if (alignment > 4096) return out;
    out.resize(pad(out.size()));
    for (const float x : {1, 2, 3}) append(out, x);
    out.resize(pad(out.size()));
    for (const float x : {4, 5, 6}) append(out, x);
    return out;
  };
  for (const uint32_t alignment : {1, 2, 4, 8, 32, 64, 4096}) {
    put(file(alignment));
    const GgufFile read(path_);
    EXPECT_EQ(read.read(*read.find("a"))(0, 0), 1) << alignment;
    EXPECT_EQ(read.read(*read.find("b"))(0, 2), 6) << alignment;
  }
  for (const uint32_t alignment : {0, 3, 24, 48}) expect_error(file(alignment), "a power of two");
  expect_error(file(uint32_t{1} << 31), "cut short");
}

TEST_F(Gguf, ValuesThatAreNone) {
  const auto value = [](uint32_t type, const auto&... parts) {
    std::string out;
    append(out, type);
    (append(out, parts), ...);
    return out;
  };
  const auto expect = [&](const std::string& text, const std::string& part) {
    expect_error(bytes({.value = text}), part);
    EXPECT_NE(error().find("key 'a.key'"), std::string::npos) << error();
  };
  expect(value(13), "type of value");
  expect(value(7, uint8_t{2}), "0 or 1");
  expect(value(8, uint64_t{1} << 62), "text");
  expect(value(8, uint64_t{100000}), "cut short");
  expect(value(8, uint64_t{2}, uint8_t{0xC3}, uint8_t{0x28}), "UTF-8");
  expect(value(9, uint32_t{4}, uint64_t{1} << 62), "elements");
  expect(value(9, uint32_t{8}, uint64_t{1000}), "elements");
  expect(value(9, uint32_t{99}, uint64_t{0}), "type of value");
  std::string nested = value(9);
  for (int i = 0; i < 9; ++i) nested += value(9, uint64_t{1});
  expect(nested, "arrays in each other");
  // The same key twice: the tensor's name and its bytes are read as one.
  std::string twice = value(4, uint32_t{1});
  append_text(twice, "a.key");
  twice += value(4, uint32_t{1});
  expect_error(bytes({.keys = 2, .value = twice}), "once");
}

TEST_F(Gguf, ValuesThatAreNotFiniteAreReportedWithTheirPlace) {
  std::string all = bytes({});
  const float bad = std::numeric_limits<float>::infinity();
  std::memcpy(all.data() + all.size() - 4, &bad, 4);
  expect_error(all, "tensor 'w': expected finite values, found inf at row 1, column 3");
  put(bytes({}));
  const GgufFile file(path_);
  EXPECT_THROW(file.read_rows(*file.find("w"), std::vector<int32_t>{2}), Error);
  EXPECT_THROW(file.read_rows(*file.find("w"), std::vector<int32_t>{-1}), Error);
}

// Cut anywhere, or with any byte changed: an Error or a file that can be read, nothing else.
TEST_F(Gguf, Damage) {
  GgufMetadata metadata;
  metadata.add_number("general.alignment", 32);
  metadata.add_texts("some.texts", std::vector<std::string>{"one", "two"});
  {
    GgufWriter writer(path_, metadata,
                      {{.name = "q8", .type = GgufType::kQ8_0, .rows = 2, .cols = 32},
                       {.name = "f32", .cols = 5, .is_vector = true}});
    writer.write(some_values(64));
    writer.write(some_values(5));
    writer.commit();
  }
  std::ifstream in(path_, std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), {}};
  ASSERT_EQ(error(), "none");
  // The padding at the end is not missed, as it is not by llama.cpp.
  for (size_t length = 0; length + 12 < whole.size(); ++length) {
    put(whole.substr(0, length));
    EXPECT_NE(error(), "none") << length;
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const unsigned char flip : {0x01, 0x80}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(static_cast<unsigned char>(damaged[i]) ^ flip);
      put(damaged);
      error();
    }
  }
}

}  // namespace
}  // namespace watersic
