// A container through a file and back, and every way in which a file may be wrong.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "base/rng.h"
#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"
#include "container/read_container.h"
#include "container/write_container.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

class ContainerTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::temp_directory_path() /
                 (std::string("watersic-container-") + info->name() + std::to_string(::getpid()));
    fs::create_directories(directory_);
    path_ = directory_ / "model.wsic";
  }
  void TearDown() override { fs::remove_all(directory_); }

  static QuantizedTensor layer(int64_t rows, int64_t cols, uint64_t seed) {
    QuantizedTensor q;
    q.rows = rows;
    q.cols = cols;
    q.codes = Matrix<int32_t>(rows, cols);
    Rng rng(seed);
    for (int32_t& v : q.codes.values()) v = static_cast<int32_t>(std::lround(rng.normal()));
    q.row_scale.half.assign(static_cast<size_t>(rows), 0x3C00);
    q.column_scale.half.assign(static_cast<size_t>(cols), half_from_float(0.01F));
    return q;
  }

  ContainerWriter::Summary write_model(const fs::path& path) {
    ThreadPool pool(1);
    ContainerWriter writer(path);
    taken_ = writer.add_text("config.json", kConfig);
    taken_ += writer.add_text("tokenizer.json", std::string(10000, 'x'));
    taken_ += writer.add_raw("model.norm.weight", SectionKind::kBf16, {5}, norm_);
    taken_ += writer.add_raw("model.embed_tokens.weight", SectionKind::kF16, {3, 7}, embedding_);
    for (const char* name :
         {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"})
      taken_ += writer.add_quantized(name, 32, 48, encode_tensor(layer(32, 48, 7), pool));
    return writer.finish("watersic 0.1.0", {{"bits", 2.0}});
  }

  static std::string read_all(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // `path_` as these bytes.
  void overwrite(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }
  // The message of the Error from opening path_ and verifying it; empty if there is none.
  std::string problem() const {
    ThreadPool pool(1);
    try {
      ContainerReader(path_).verify(pool);
      return "";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(path_.string()), std::string::npos) << e.what();
      return e.what();
    }
  }
  // Changes the header or the table and mends their checksum: a lying writer's file.
  std::string lie(std::string bytes, const std::function<void(std::string&)>& change) const {
    change(bytes);
    const uint64_t table = read_number(std::as_bytes(std::span(bytes)).subspan(16), 8);
    const auto all = std::as_bytes(std::span(bytes));
    const std::span<const std::byte> pieces[] = {
        all.first(48), all.subspan(std::min<uint64_t>(table, bytes.size()))};
    const Hash128 hash = hash128(pieces);
    std::copy(hash.begin(), hash.end(), reinterpret_cast<std::byte*>(bytes.data()) + 48);
    overwrite(bytes);
    return problem();
  }

  static constexpr const char* kConfig = R"({"model_type": "llama"})";
  std::vector<uint16_t> norm_ = {1, 2, 3, 4, 0xFFFF};
  std::vector<uint16_t> embedding_ = std::vector<uint16_t>(21, 0x3C00);
  fs::path directory_, path_;
  uint64_t taken_ = 0;
};

TEST_F(ContainerTest, RoundTrip) {
  const auto summary = write_model(path_);
  EXPECT_EQ(summary.file_bytes, fs::file_size(path_));
  ASSERT_EQ(summary.sections.size(), 7U);
  // What sections take, with the header, is all of the file.
  EXPECT_EQ(taken_ + summary.sections.back().file_bytes() + kHeaderBytes, summary.file_bytes);

  const ContainerReader reader(path_);
  ThreadPool pool(2);
  reader.verify(pool);
  EXPECT_EQ(reader.text("config.json"), kConfig);
  EXPECT_EQ(reader.text("tokenizer.json"), std::string(10000, 'x'));
  EXPECT_TRUE(std::ranges::equal(reader.raw("model.norm.weight"), norm_));
  EXPECT_EQ(reader.section("model.norm.weight").shape, (std::vector<int64_t>{5}));
  EXPECT_TRUE(std::ranges::equal(reader.raw("model.embed_tokens.weight"), embedding_));
  const Section& embedding = reader.section("model.embed_tokens.weight");
  EXPECT_EQ(embedding.kind, SectionKind::kF16);
  EXPECT_EQ(embedding.rows(), 3);
  EXPECT_EQ(embedding.cols(), 7);
  const QuantizedTensor q = reader.quantized("model.layers.0.self_attn.k_proj.weight", pool);
  EXPECT_TRUE(std::ranges::equal(q.codes.values(), layer(32, 48, 7).codes.values()));
  for (const Section& s : reader.sections()) EXPECT_EQ(s.offset % kAlignment, 0U) << s.name;
  const Json manifest = reader.manifest();
  EXPECT_EQ(manifest["model_id"], summary.model_id);
  EXPECT_EQ(manifest["options"]["bits"], 2.0);
  EXPECT_EQ(manifest["format_version"], kFormatVersion);
  EXPECT_FALSE(reader.has("lm_head.weight"));
}

TEST_F(ContainerTest, EntriesAreSmall) {
  const auto summary = write_model(path_);
  // The second of two layers' names costs what it does not share.
  EXPECT_LE(summary.sections[5].entry_bytes, 32U);
}

TEST_F(ContainerTest, EmptyContainerAndEmptySections) {
  {
    ContainerWriter writer(path_);
    writer.add_text("config.json", "");
    writer.add_raw("empty", SectionKind::kBf16, {0}, {});
    writer.finish("test", Json::object());
  }
  EXPECT_EQ(problem(), "");
  EXPECT_EQ(ContainerReader(path_).text("config.json"), "");
  EXPECT_TRUE(ContainerReader(path_).raw("empty").empty());
}

TEST_F(ContainerTest, ModelIdFollowsContentNotOrder) {
  const auto id = [&](bool swapped, const std::string& config, uint16_t value) {
    ContainerWriter writer(path_);
    const std::vector<uint16_t> a = {1, 2}, b = {value};
    if (swapped) writer.add_raw("b", SectionKind::kBf16, {1}, b);
    writer.add_text("config.json", config);
    writer.add_raw("a", SectionKind::kBf16, {2}, a);
    if (!swapped) writer.add_raw("b", SectionKind::kBf16, {1}, b);
    return writer.finish("test", Json::object()).model_id;
  };
  const std::string base = id(false, "{}", 3);
  EXPECT_EQ(base.size(), 32U);
  EXPECT_EQ(base, id(true, "{}", 3));
  EXPECT_NE(base, id(false, "{ }", 3));
  EXPECT_NE(base, id(false, "{}", 4));
}

TEST_F(ContainerTest, NothingUnderTheNameIfNotFinished) {
  overwrite("before");
  {
    ContainerWriter writer(path_);
    writer.add_text("config.json", kConfig);
  }
  EXPECT_EQ(read_all(path_), "before");
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), {}), 1);
  EXPECT_THROW(ContainerWriter(directory_ / "missing" / "model.wsic"), Error);
}

TEST_F(ContainerTest, NamesAreUniqueAndBounded) {
  ContainerWriter writer(path_);
  writer.add_text("config.json", kConfig);
  EXPECT_THROW(writer.add_text("config.json", kConfig), Error);
  EXPECT_THROW(writer.add_raw("config.json", SectionKind::kF16, {0}, {}), Error);
  EXPECT_THROW(writer.add_text("manifest.json", "{}"), Error);
  EXPECT_THROW(writer.add_text("", "{}"), Error);
  EXPECT_THROW(writer.add_text(std::string(256, 'n'), "{}"), Error);
  writer.add_text(std::string(255, 'n'), "{}");
  writer.finish("test", Json::object());
  EXPECT_EQ(problem(), "");
}

TEST_F(ContainerTest, EveryByteIsChecked) {
  write_model(path_);
  const std::string good = read_all(path_);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    overwrite(bad);
    EXPECT_NE(problem(), "") << "byte " << i;
  }
}

TEST_F(ContainerTest, EveryTruncationIsAnError) {
  write_model(path_);
  const std::string good = read_all(path_);
  for (size_t n = 0; n < good.size(); ++n) {
    overwrite(good.substr(0, n));
    EXPECT_THROW(ContainerReader{path_}, Error) << n;
  }
  overwrite(good + "x");
  EXPECT_THROW(ContainerReader{path_}, Error);
}

TEST_F(ContainerTest, MissingSectionsAndWrongKinds) {
  write_model(path_);
  const ContainerReader reader(path_);
  ThreadPool pool(1);
  EXPECT_THROW(reader.text("model.norm.weight"), Error);
  EXPECT_THROW(reader.raw("config.json"), Error);
  EXPECT_THROW(reader.quantized("model.norm.weight", pool), Error);
  EXPECT_THROW(reader.decoder("model.norm.weight"), Error);
  EXPECT_THROW(reader.section("nothing"), Error);
}

// Files whose checksums are right and whose contents are not.
TEST_F(ContainerTest, LyingHeaders) {
  write_model(path_);
  const std::string good = read_all(path_);
  EXPECT_EQ(lie(good, [](std::string&) {}), "");
  const auto expect = [&](const char* message, const std::function<void(std::string&)>& change) {
    const std::string found = lie(good, change);
    EXPECT_NE(found.find(message), std::string::npos) << message << " / " << found;
  };
  const auto table =
      static_cast<size_t>(read_number(std::as_bytes(std::span(good)).subspan(16), 8));
  expect("not a .wsic", [](std::string& b) { b[1] = 'X'; });
  expect("a newer program", [](std::string& b) { b[8] = 2; });
  expect("newer", [](std::string& b) { b[8] = 0; });
  expect("no flags", [](std::string& b) { b[12] = 1; });
  expect("cut short", [](std::string& b) { b[23] = 0x7F; });
  expect("cut short", [](std::string& b) { b[31] = 0x7F; });
  expect("reserved", [](std::string& b) { b[40] = 1; });
  expect("left over", [](std::string& b) { --b[32]; });
  expect("cut short", [](std::string& b) { ++b[32]; });
  expect("sections", [](std::string& b) { b[35] = 1; });
  expect("manifest.json: is damaged: its checksum", [](std::string& b) { b.back() ^= 1; });
  // The first entry: kind, shared, suffix, "config.json", bytes of text, length, checksum.
  ASSERT_EQ(good.substr(table + 3, 11), "config.json");
  expect("unknown kind", [&](std::string& b) { b[table] = 9; });
  expect("dimensions", [&](std::string& b) { b[table] = 0x20; });
  expect("dimensions", [&](std::string& b) { b[table] = 0x03; });
  expect("begins with no other", [&](std::string& b) { b[table + 1] = 1; });
  expect("cut short", [&](std::string& b) { b.resize(table), b[24] = b[25] = 0, ++b[32]; });
  expect("config.json", [&](std::string& b) { ++b[table + 14]; });
  expect("config.json: is damaged", [&](std::string& b) { --b[table + 15]; });
  expect("found the table", [&](std::string& b) { b[table + 15] = 0x7F; });
  expect("two sections", [&](std::string& b) { b[b.find("k_proj", table)] = 'q'; });
}

TEST_F(ContainerTest, LyingTensors) {
  ThreadPool pool(1);
  const auto blob = encode_tensor(layer(32, 48, 1), pool);
  {
    ContainerWriter writer(path_);
    writer.add_quantized("w", 48, 32, blob);
    writer.finish("test", Json::object());
  }
  EXPECT_NE(problem().find("32 x 48"), std::string::npos);
  {
    ContainerWriter writer(path_);
    writer.add_quantized("w", 32, 48, std::span(blob).first(blob.size() - 2));
    writer.finish("test", Json::object());
  }
  EXPECT_NE(problem().find("damaged"), std::string::npos);
}

TEST_F(ContainerTest, TextsAreUtf8) {
  ContainerWriter writer(path_);
  writer.add_text("t", "abc\xff");
  writer.finish("test", Json::object());
  EXPECT_NE(problem().find("t: expected UTF-8, found a wrong byte at offset 3"), std::string::npos)
      << problem();
}

TEST_F(ContainerTest, TextsThatClaimMoreThanTheyHold) {
  {
    ContainerWriter writer(path_);
    writer.add_text("t", std::string(100, 'a'));
    writer.finish("test", Json::object());
  }
  const std::string good = read_all(path_);
  const size_t entry = good.rfind("\x01t");
  const size_t size = entry + 2;  // a varint of one byte: 100
  ASSERT_EQ(good[size], 100);
  EXPECT_NE(lie(good, [&](std::string& b) { b[size] = 99; }).find("decompressed"),
            std::string::npos);
  EXPECT_NE(lie(good, [&](std::string& b) { b[size] = 101; }).find("expected 101"),
            std::string::npos);
}

}  // namespace
}  // namespace watersic
