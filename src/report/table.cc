#include "report/table.h"

#include <cassert>

namespace watersic::report {

void Table::row(const std::string& css) {
  assert(rows_ == 0 || at_ == columns_.size());
  body_.add("{}<tr class=\"{}\">", rows_ == 0 ? Html() : Html("</tr>\n"), css);
  ++rows_;
  at_ = 0;
}

void Table::text(const std::string& value) { text(report::html("{}", value), value); }

void Table::text(const Html& shown, const std::string& value) {
  const bool head = at_++ == 0;
  body_.add(
      head ? "<th scope=\"row\" data-v=\"{}\">{}</th>" : "<td class=\"text\" data-v=\"{}\">{}</td>",
      value, shown);
}

void Table::number(double value, const std::string& shown) {
  ++at_;
  body_.add("<td data-v=\"{}\">{}</td>", value, shown);
}

void Table::none() {
  ++at_;
  body_.add("<td></td>");
}

Html Table::html() const {
  Html head;
  for (const Column& column : columns_) {
    head.add("<th scope=\"col\" class=\"{}\" title=\"{}\">{}</th>", column.number ? "" : "text",
             column.meaning, column.title);
  }
  return report::html(
      "<div class=\"scroll\" tabindex=\"0\"><table class=\"sortable\"><thead><tr>{}</tr></thead>"
      "<tbody>{}</tr></tbody></table></div>",
      head, body_);
}

}  // namespace watersic::report
