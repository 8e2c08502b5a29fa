// Reading what others wrote, and writing so that half a file is never seen.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "io/file_lock.h"
#include "io/json.h"
#include "io/mapped_file.h"
#include "io/text.h"
#include "support/test_folder.h"
#include "watersic/npy.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

class Io : public ::testing::Test {
 protected:
  fs::path file(const std::string& name, const std::string& content) const {
    std::ofstream(dir_ / name, std::ios::binary) << content;
    return dir_ / name;
  }
  static std::string error_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  }

  TestFolder folder_{"io"};
  const fs::path dir_ = folder_.path();
};

TEST_F(Io, AnAtomicFileAppearsWholeOrNotAtAll) {
  const fs::path path = dir_ / "out";
  {
    AtomicFile file(path);
    file.write("half");
  }
  EXPECT_TRUE(fs::is_empty(dir_));
  write_file(path, "first");
  {
    AtomicFile file(path);
    file.write("second");
    EXPECT_EQ(read_text(path), "first");
    file.commit();
  }
  EXPECT_EQ(read_text(path), "second");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()), 1);
}

// What runs in a process that ends at once.
void in_a_process(const std::function<void()>& run) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    run();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
}

TEST_F(Io, TemporaryFilesGoOnASignal) {
  in_a_process([&] {
    const AtomicFile file(dir_ / "a");
    const Temporary folder(dir_ / "b", Temporary::Kind::kFolder);
    write_file(folder.path() / "whole", "x");
    const Temporary inside(folder.path() / "whole");
    AtomicFile half(folder.path() / "half");
    half.write("x");
    write_file(dir_ / "kept", "x");
    remove_temporary_files();
  });
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()), 1);
  EXPECT_TRUE(fs::exists(dir_ / "kept"));
}

TEST_F(Io, WhatADeadProcessLeftGoesWithTheNextOfItsName) {
  const AtomicFile mine(dir_ / "a");
  in_a_process([&] {
    new AtomicFile(dir_ / "a");
    new Temporary(dir_ / "b", Temporary::Kind::kFolder);
  });
  const auto count = [&] {
    return std::distance(fs::directory_iterator(dir_), fs::directory_iterator());
  };
  EXPECT_EQ(count(), 3);
  write_file(dir_ / "a", "x");  // a living one's stays
  EXPECT_EQ(count(), 3);
  { const Temporary folder(dir_ / "b", Temporary::Kind::kFolder); }
  EXPECT_EQ(count(), 2);
}

TEST_F(Io, AnAddressTellsItsMappedFile) {
  const MappedFile a(file("a", std::string(10000, 'x')));
  const std::byte* gone = nullptr;
  {
    MappedFile b(file("b", "y"));
    const MappedFile moved(std::move(b));
    gone = moved.bytes().data();
    EXPECT_EQ(mapped_file_at(gone), (dir_ / "b").string());
  }
  EXPECT_EQ(mapped_file_at(gone), nullptr);
  EXPECT_EQ(mapped_file_at(&a.bytes()[9999]), (dir_ / "a").string());
  EXPECT_EQ(mapped_file_at(a.bytes().data() + 10000), nullptr);
  EXPECT_EQ(mapped_file_at(&gone), nullptr);
}

TEST_F(Io, OneAtATimeHoldsALock) {
  {
    const FileLock lock(dir_ / "lock");
    EXPECT_NE(
        error_of([&] { const FileLock second(dir_ / "lock"); }).find("lock: is held by process"),
        std::string::npos);
  }
  in_a_process([&] { new FileLock(dir_ / "lock"); });  // which ends without letting go
  const FileLock again(dir_ / "lock");
}

TEST_F(Io, WritingWhereOneCannotIsAnError) {
  EXPECT_NE(
      error_of([&] { write_file(dir_ / "no" / "such", "x"); }).find("no/such: cannot be created"),
      std::string::npos);
  EXPECT_NE(error_of([&] { write_file(dir_, "x"); }).find("is a directory"), std::string::npos);
}

TEST_F(Io, NpyRoundTripAndConversion) {
  Matrix<float> A(2, 3);
  for (int i = 0; i < 6; ++i) A.values()[static_cast<size_t>(i)] = 0.5F * static_cast<float>(i);
  write_npy<float>(dir_ / "a.npy", A);
  const auto B = read_npy<double>(dir_ / "a.npy");
  ASSERT_EQ(B.rows(), 2);
  ASSERT_EQ(B.cols(), 3);
  EXPECT_EQ(B(1, 2), 2.5);
  EXPECT_EQ(fs::file_size(dir_ / "a.npy") % 8, 0U);
}

TEST_F(Io, NpyErrorsNameWhatIsWrong) {
  const auto npy = [&](const std::string& header, const std::string& data) {
    std::string text("\x93NUMPY\x01\x00", 8);
    text += static_cast<char>(header.size() & 255);
    text += static_cast<char>(header.size() >> 8);
    return file("bad.npy", text + header + data);
  };
  const std::string rest = "'fortran_order': False, 'shape': (2, 2), }";
  EXPECT_NE(error_of([&] { read_npy<float>(file("x", "hello world")); }).find("is not a .npy file"),
            std::string::npos);
  EXPECT_NE(
      error_of([&] { read_npy<float>(npy("{'descr': '<i4', " + rest, "")); }).find("found '<i4'"),
      std::string::npos);
  EXPECT_NE(error_of([&] {
              read_npy<float>(npy("{'descr': '<f4', " + rest, "123"));
            }).find("2 x 2 values, found 0"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              read_npy<float>(npy(
                  "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999), }",
                  "1234"));
            }).find("expected 9999999999 x 9999999999"),
            std::string::npos);
  // Found by fuzzing: rows of nothing took half a minute.
  EXPECT_NE(error_of([&] {
              read_npy<float>(
                  npy("{'descr': '<f4', 'fortran_order': False, 'shape': (8589934592, 0), }", ""));
            }).find("found 8589934592 x 0"),
            std::string::npos);
  // A long text took a deep stack.
  const std::string longest = std::string(60000, '<');
  EXPECT_NE(error_of([&] {
              read_npy<float>(npy("{'descr': '" + longest + "f4', " + rest, ""));
            }).find("found '<<<"),
            std::string::npos);
  for (const char* shape :
       {"(2, )", "(2)", "2, 2", "(2, 2, 2)", "(-2, 2)", "(12345678901, 1)", "("}) {
    const std::string header =
        "{'shape': " + std::string(shape) + ", 'fortran_order': False, 'descr': '<f4'}";
    EXPECT_NE(error_of([&] { read_npy<float>(npy(header, "")); }).find("two dimensions"),
              std::string::npos)
        << shape;
  }
  Matrix<float> A(1, 2);
  A(0, 1) = std::numeric_limits<float>::quiet_NaN();
  write_npy<float>(dir_ / "nan.npy", A);
  EXPECT_NE(
      error_of([&] { read_npy<float>(dir_ / "nan.npy"); }).find("found nan at row 0, column 1"),
      std::string::npos);
}

TEST_F(Io, JsonFieldsNameFileAndField) {
  const Json json = read_json(file("c.json", R"({"a": 1, "b": {"c": "x"}, "n": null, "f": 1.5})"));
  const JsonFields fields(json, "c.json");
  EXPECT_EQ(fields.integer("a"), 1);
  EXPECT_EQ(fields.integer("n", 7), 7);
  EXPECT_EQ(fields.object("b").text("c"), "x");
  EXPECT_EQ(fields.number("a"), 1.0);
  EXPECT_EQ(error_of([&] { fields.integer("f"); }), "c.json: f: expected an integer, found 1.5");
  EXPECT_EQ(error_of([&] { fields.object("b").integer("d"); }),
            "c.json: b: d: expected an integer, found no such field");
  EXPECT_NE(
      error_of([&] { read_json(file("d.json", "{\"a\": ")); }).find("d.json: is not valid JSON"),
      std::string::npos);
  for (const char* twice : {R"({"a": 1, "b": 2, "a": 3})", R"([{"x": {"a": 1, "\u0061": 1}}])"}) {
    EXPECT_EQ(error_of([&] { parse_json(twice, "twice"); }),
              "twice: expected each name once in an object, found \"a\" twice");
  }
  EXPECT_EQ(parse_json(R"([{"a": {"a": 1}}, {"a": 2}])", "once").size(), 2U);
  const std::string long_one =
      error_of([&] { parse_json("\"" + std::string(1000000, 'a'), "long"); });
  EXPECT_LT(long_one.size(), 300U);
  EXPECT_EQ(long_one.find("json.exception"), std::string::npos) << long_one;
  EXPECT_NE(error_of([&] { parse_json(std::string(100000, '['), "deep"); }).find("nested deeper"),
            std::string::npos);
}

TEST_F(Io, StreamedTextIsValidAfterEveryPiece) {
  // Of one to four bytes; broken off, overlong, a surrogate, no lead at all.
  const std::string bytes =
      "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 \xC3 \xE2\x82z\xF0\x9F\x98\xC3\xA9 \xC0\x80"
      "\xED\xA0\x80\xFF\x80\x80\x80\x80\xF0\x9F";
  for (size_t size = 1; size <= bytes.size(); ++size) {
    Utf8Stream stream;
    std::string text;
    for (size_t begin = 0; begin < bytes.size(); begin += size) {
      const std::string piece = stream.push(std::string_view(bytes).substr(begin, size));
      EXPECT_EQ(find_invalid_utf8(piece), std::string::npos);
      text += piece;
    }
    text += stream.finish();
    EXPECT_EQ(text, replace_invalid_utf8(bytes)) << size;
    EXPECT_EQ(stream.finish(), "");
  }
  Utf8Stream stream;
  EXPECT_EQ(stream.push("caf\xC3"), "caf");
  EXPECT_EQ(stream.push("\xA9!"), "\xC3\xA9!");
  EXPECT_EQ(stream.push(""), "");
}

TEST_F(Io, TextMustBeUtf8) {
  EXPECT_EQ(read_text(file("ok", "na\xC3\xAFve \xF0\x9F\x98\x80")),
            "na\xC3\xAFve \xF0\x9F\x98\x80");
  EXPECT_NE(error_of([&] { read_text(file("empty", "")); }).find("empty file"), std::string::npos);
  EXPECT_NE(error_of([&] { read_text(file("bad", "ab\xFF")); }).find("0xff at offset 2"),
            std::string::npos);
  for (const char* bad : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80"})
    EXPECT_EQ(find_invalid_utf8(bad), 0U) << bad;
  EXPECT_EQ(replace_invalid_utf8("a\xFF\xC3\xA9\xE2"), "a\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD");
  EXPECT_NE(error_of([&] { read_text(dir_ / "missing"); }).find("cannot be opened"),
            std::string::npos);
}

}  // namespace
}  // namespace watersic
