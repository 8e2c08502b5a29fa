#include "results.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "watersic/file.h"

namespace watersic {
namespace {

std::string number(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, decimals < 0 ? "%.*g" : "%.*f", std::abs(decimals), value);
  return text;
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

}  // namespace

Results::Results(std::string keys, std::vector<Column> columns)
    : keys_(std::move(keys)), columns_(std::move(columns)) {}

void Results::add(const std::string& key, const std::vector<double>& values) {
  ASSERT_EQ(values.size(), columns_.size());
  rows_.push_back({key, values});
}

std::string Results::header() const {
  std::string out = keys_;
  for (const Column& column : columns_) out.append(1, ',').append(column.name);
  return out;
}

std::string Results::line(const Row& row) const {
  std::string out = row.key;
  for (size_t i = 0; i < columns_.size(); ++i)
    out.append(1, ',').append(number(row.values[i], columns_[i].decimals));
  return out;
}

void Results::compare(const std::string& file) const {
  const std::filesystem::path path =
      std::filesystem::path(WATERSIC_SOURCE_DIR) / "tests/results" / file;
  const char* update = std::getenv("WATERSIC_UPDATE_RESULTS");
  if (update != nullptr && std::string(update) == "1") {
    std::string text = header() + "\n";
    for (const Row& row : rows_) text += line(row) + "\n";
    write_file(path, text);
    return;
  }

  std::ifstream in(path);
  ASSERT_TRUE(in) << path << " is not there: WATERSIC_UPDATE_RESULTS=1 writes it";
  std::string committed;
  std::getline(in, committed);
  EXPECT_EQ(committed, header());
  for (const Row& row : rows_) {
    if (!std::getline(in, committed)) {
      ADD_FAILURE() << file << " ends before " << row.key;
      return;
    }
    const std::vector<std::string> cells = split(committed);
    const size_t keys = split(row.key).size();
    bool same = committed.starts_with(row.key + ",") && cells.size() == keys + columns_.size();
    for (size_t i = 0; same && i < columns_.size(); ++i) {
      const double expected = std::stod(cells[keys + i]);
      const double allowed = columns_[i].absolute + columns_[i].relative * std::fabs(expected);
      same = std::fabs(row.values[i] - expected) <= allowed;
    }
    EXPECT_TRUE(same) << file << "\n  columns   " << header() << "\n  committed " << committed
                      << "\n  found     " << line(row);
  }
  EXPECT_FALSE(std::getline(in, committed)) << file << ": nothing makes the row " << committed;
}

}  // namespace watersic
