// Files that are split, as llama-gguf-split names and marks their parts.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "support/test_folder.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

class GgufSplit : public ::testing::Test {
 protected:
  fs::path part(int number, int count = 3) const {
    return dir_ / fmt::format("m-{:05}-of-{:05}.gguf", number + 1, count);
  }
  struct Marks {
    std::optional<uint32_t> number, count, tensors;
  };
  // One row of 4 times `value`.
  static void write(const fs::path& path, const Marks& marks, const std::string& tensor,
                    float value) {
    GgufMetadata metadata;
    if (marks.number) metadata.add_number("split.no", *marks.number);
    if (marks.count) metadata.add_number("split.count", *marks.count);
    if (marks.tensors) metadata.add_number("split.tensors.count", *marks.tensors);
    metadata.add_text("says", tensor);
    GgufWriter writer(path, metadata, {{.name = tensor, .cols = 4}});
    writer.write(std::vector<float>(4, value));
    writer.commit();
  }
  void write_all() const {
    for (uint32_t i = 0; i < 3; ++i)
      write(part(static_cast<int>(i)), {i, 3, 3}, std::string(1, static_cast<char>('a' + i)),
            static_cast<float>(i));
  }
  static std::string error_of(const fs::path& path) {
    try {
      const GgufFile file(path);
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  }
  static void expect_error(const fs::path& path, const std::vector<std::string>& parts) {
    const std::string error = error_of(path);
    for (const std::string& each : parts)
      EXPECT_NE(error.find(each), std::string::npos) << each << "\nfound: " << error;
  }

  TestFolder folder_{"split"};
  const fs::path dir_ = folder_.path();
};

TEST_F(GgufSplit, AnyPartWillDo) {
  write_all();
  for (int i = 0; i < 3; ++i) {
    const GgufFile file(part(i));
    EXPECT_EQ(file.path(), part(i));
    EXPECT_EQ(file.paths(), (std::vector{part(0), part(1), part(2)}));
    EXPECT_EQ(file.metadata().at("says"), "a");  // the first part's
    ASSERT_EQ(file.tensors().size(), 3U);
    for (const char* name : {"a", "b", "c"}) {
      const auto* tensor = file.find(name);
      ASSERT_NE(tensor, nullptr);
      EXPECT_EQ(file.read(*tensor)(0, 3), static_cast<float>(*name - 'a'));
    }
  }
}

TEST_F(GgufSplit, OneFileOfOne) {
  write(dir_ / "any.gguf", {0, 1, 1}, "a", 1);
  EXPECT_EQ(error_of(dir_ / "any.gguf"), "none");
  write(dir_ / "any.gguf", {0, 0, {}}, "a", 1);  // what llama-gguf-split --merge leaves
  EXPECT_EQ(error_of(dir_ / "any.gguf"), "none");
}

TEST_F(GgufSplit, PartsThatDoNotFit) {
  write_all();
  fs::remove(part(1));
  expect_error(part(0), {"m-00002-of-00003.gguf", "no such file"});
  expect_error(part(2), {"m-00002-of-00003.gguf", "no such file"});
  write(part(1), {2, 3, 3}, "b", 1);
  expect_error(part(0), {"m-00002-of-00003.gguf", "split.no", "expected 1 of 3, found 2 of 3"});
  write(part(1), {1, 4, 3}, "b", 1);
  expect_error(part(0), {"m-00002-of-00003.gguf", "expected 1 of 3, found 1 of 4"});
  write(part(1), {}, "b", 1);
  expect_error(part(0), {"m-00002-of-00003.gguf", "found 0 of 0"});
  write(part(1), {1, 3, 3}, "a", 1);
  expect_error(part(0), {"m-00002-of-00003.gguf", "tensor 'a'", "once", "m-00001-of-00003.gguf"});
  std::ofstream(part(1)) << "GGUF";
  expect_error(part(0), {"m-00002-of-00003.gguf", "cut short"});

  write_all();
  write(part(0), {0, 3, 4}, "a", 0);
  expect_error(part(1), {"m-00001-of-00003.gguf", "split.tensors.count", "expected 4, found 3"});
  write(part(0), {0, 3, {}}, "a", 0);
  EXPECT_EQ(error_of(part(1)), "none");

  fs::rename(part(0), dir_ / "other.gguf");
  expect_error(dir_ / "other.gguf", {"other.gguf", "-00001-of-00003.gguf", "part 1 of 3"});
  write(part(0), {3, 3, 3}, "a", 0);
  expect_error(part(0), {"split.no", "below 3"});
  write(part(0), {0, 70000, 3}, "a", 0);
  expect_error(part(0), {"split.count"});
  write(part(0), {{}, 3, 3}, "a", 0);
  expect_error(part(0), {"split.no"});
}

}  // namespace
}  // namespace watersic
