// A table of results as a CSV file: what is computed is compared with what is committed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace watersic {

// A measured column. A value may differ from the committed one by `absolute` plus `relative` times
// its magnitude: BLAS kernels differ between CPUs in the last bit, and a rounding decision may
// follow.
struct Column {
  std::string name;
  int decimals = 4;  // significant digits where negative
  double absolute = 0, relative = 0;
};

class Results {
 public:
  // `keys`: the header of the columns that name a row, "family,rows,cols".
  Results(std::string keys, std::vector<Column> columns);

  // `key`: the row's name, comma-separated as `keys`; one value for each column.
  void add(const std::string& key, const std::vector<double>& values);

  // Fails the test, row by row, where the committed table at tests/results/FILE differs. With
  // WATERSIC_UPDATE_RESULTS=1 in the environment it writes the table instead.
  void compare(const std::string& file) const;

 private:
  struct Row {
    std::string key;
    std::vector<double> values;
  };

  std::string header() const;
  std::string line(const Row& row) const;

  std::string keys_;
  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

}  // namespace watersic
