#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/half.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

class Safetensors : public ::testing::Test {
 protected:
  Safetensors() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = fs::temp_directory_path() / (std::string("watersic-") + info->name() + ".safetensors");
    fs::remove(path_);
  }
  ~Safetensors() override { fs::remove(path_); }

  // A file of this header and so many bytes of data; its length field may lie.
  void put(const std::string& header, size_t data, int64_t length = -1) const {
    const uint64_t n = length < 0 ? header.size() : static_cast<uint64_t>(length);
    std::ofstream out(path_, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&n), 8);
    out << header << std::string(data, '\0');
  }
  std::string error() const {
    try {
      const SafetensorsFile file(path_);
      for (const auto& entry : file.entries()) file.read(entry);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  }
  void expect_error(const std::string& part) const {
    EXPECT_NE(error().find(part), std::string::npos)
        << "expected: " << part << "\nfound: " << error();
  }

  fs::path path_;
};

TEST_F(Safetensors, RoundTripInEveryReadableDtype) {
  const std::vector<float> values = {0.0F, -1.5F, 3.25F, 0x1p-20F, 60000.0F, -0.1F};
  SafetensorsWriter writer(path_,
                           {{.name = "f32", .dtype = "F32", .shape = {2, 3}},
                            {.name = "empty", .dtype = "I64", .shape = {0, 5}},
                            {.name = "f16", .dtype = "F16", .shape = {6}},
                            {.name = "bf16", .dtype = "BF16", .shape = {3, 2}},
                            {.name = "scalar", .dtype = "F32", .shape = {}}},
                           {{"format", "pt"}});
  const std::span<const float> all(values);
  writer.write(all.first(1));  // in parts
  writer.write(all.subspan(1));
  writer.write(all);
  writer.write(all);
  writer.write(all.first(1));
  EXPECT_FALSE(fs::exists(path_));
  writer.commit();

  const SafetensorsFile file(path_);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.entries().size(), 5U);
  EXPECT_EQ(file.find("none"), nullptr);
  const Matrix<float> f32 = file.read(*file.find("f32"));
  EXPECT_TRUE(std::equal(values.begin(), values.end(), f32.values().begin()));
  EXPECT_EQ(f32.cols(), 3);
  const Matrix<float> f16 = file.read(*file.find("f16")), bf16 = file.read(*file.find("bf16"));
  EXPECT_EQ(f16.rows(), 1);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(f16.values()[i], float_from_half(half_from_float(values[i])));
    EXPECT_EQ(bf16.values()[i], float_from_bf16(bf16_from_float(values[i])));
  }
  const std::vector<int32_t> chosen = {2, 0, 2};
  const Matrix<float> rows = file.read_rows(*file.find("bf16"), chosen);
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 2; ++j) EXPECT_EQ(rows(i, j), bf16(chosen[static_cast<size_t>(i)], j));
  // Pages given back come in again.
  EXPECT_TRUE(
      std::equal(values.begin(), values.end(), file.read(*file.find("f32")).values().begin()));
  EXPECT_THROW(file.read_rows(*file.find("bf16"), std::vector<int32_t>{3}), Error);
  EXPECT_THROW(file.read_rows(*file.find("bf16"), std::vector<int32_t>{-1}), Error);
}

TEST_F(Safetensors, AnEmptyHeaderIsAFileWithoutTensors) {
  put("{}", 0);
  EXPECT_EQ(error(), "(no error)");
}

TEST_F(Safetensors, ALyingHeaderIsNamed) {
  const auto tensor = [](const std::string& dtype, const std::string& shape,
                         const std::string& offsets, const std::string& name = "x") {
    return "\"" + name + R"(": {"dtype": ")" + dtype + R"(", "shape": [)" + shape +
           R"(], "data_offsets": [)" + offsets + "]}";
  };
  std::ofstream(path_) << "1234";
  expect_error("expected at least 8 bytes, found 4");
  put("{}", 0, 3);
  expect_error("found a length of 3");
  put("{}", 0, std::numeric_limits<int64_t>::max());
  expect_error("found a length of 9223372036854775807");
  put("[]", 0);
  expect_error("not a JSON object");
  put("{\"x\": ", 0);
  expect_error("is not valid JSON");
  put("{" + tensor("F32", "2", "0, 8") + "}", 7);
  expect_error("tensor 'x': data_offsets: expected an end of at most 7");
  put("{" + tensor("F32", "2", "0, 8") + "}", 9);
  expect_error("expected 8 bytes of tensors, found 9");
  put("{" + tensor("F32", "3", "0, 8") + "}", 8);
  expect_error("tensor 'x': expected the bytes of shape [3] in F32, found 8");
  put("{" + tensor("F32", "4294967296, 4294967296", "0, 0") + "}", 0);  // the product wraps to 0
  expect_error("expected the bytes of shape [4294967296, 4294967296] in F32, found 0");
  put("{" + tensor("F32", "-1", "0, 8") + "}", 8);
  expect_error("shape: expected sizes of at least 0");
  put("{" + tensor("F32", "2", "8, 0") + "}", 8);
  expect_error("data_offsets: expected [begin, end]");
  put("{" + tensor("F32", "2", "0, 18446744073709551615") + "}", 8);
  expect_error("data_offsets: expected [begin, end]");
  put("{" + tensor("F33", "2", "0, 8") + "}", 8);
  expect_error("dtype: expected a dtype of the format, found \"F33\"");
  put("{" + tensor("F32", "2", "0, 8") + ", " + tensor("F32", "2", "4, 12", "y") + "}", 12);
  expect_error(
      "tensor 'y': data_offsets: expected to begin at 8, where the tensor before ends, found 4");
  put("{" + tensor("F32", "2", "0, 8") + ", " + tensor("F32", "2", "12, 20", "y") + "}", 20);
  expect_error("expected to begin at 8");
  put(R"({"__metadata__": {"a": 1}})", 0);
  expect_error("__metadata__: a: expected a string, found 1");
}

TEST_F(Safetensors, OtherDtypesAreListedAndNotRead) {
  put(R"({"x": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}})", 8);
  EXPECT_EQ(SafetensorsFile(path_).entries()[0].dtype, "I64");
  expect_error("tensor 'x': dtype: expected F32, F16 or BF16, found I64");
  put(R"({"x": {"dtype": "F32", "shape": [1, 1, 2], "data_offsets": [0, 8]}})", 8);
  expect_error("shape: expected at most two dimensions, found [1, 1, 2]");
}

TEST_F(Safetensors, NaNAndInfinityAreNamed) {
  for (const char* dtype : {"F32", "F16", "BF16"}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      SafetensorsWriter writer(path_, {{.name = "w", .dtype = dtype, .shape = {2, 2}}});
      writer.write(std::vector<float>{1, 2, 3, bad});
      writer.commit();
      expect_error("tensor 'w': expected finite values, found " +
                   std::string(std::isnan(bad) ? "nan" : "-inf") + " at row 1, column 1");
    }
  }
}

}  // namespace
}  // namespace watersic
