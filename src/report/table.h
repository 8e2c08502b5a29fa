// A table whose rows the page's script can sort: what a cell shows is rounded, what it is sorted by
// is not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/html.h"

namespace watersic::report {

class Table {
 public:
  struct Column {
    std::string title;
    std::string meaning;  // said when it is pointed at; may be empty
    bool number = true;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // A row is begun, then given a cell for each column. `css`: the row's class.
  void row(const std::string& css = "");
  void text(const std::string& value);
  void text(const Html& shown, const std::string& value);
  void number(double value, const std::string& shown);
  void none();
  // `form` says how it is shown.
  template <class T, class F>
  void number_if(const std::optional<T>& value, F&& form) {
    if (value) {
      number(static_cast<double>(*value), form(*value));
    } else {
      none();
    }
  }

  bool empty() const { return rows_ == 0; }
  Html html() const;

 private:
  std::vector<Column> columns_;
  Html body_;
  size_t rows_ = 0, at_ = 0;  // at_: the column of the next cell
};

}  // namespace watersic::report
