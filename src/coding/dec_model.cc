#include "coding/dec_model.h"

#include <algorithm>

#include "coding/common_gauss.h"
#include "coding/dec_sequence.h"
#include "coding/dec_table.h"

namespace watersic {
namespace {

void read_classes(BitReader& in, const QuantizedTensor& t, Classes& c, const std::string& name) {
  const auto kind = in.bits(2);
  if (kind > Classes::kRows) damaged(name, "unknown kind of classes");
  c.kind = static_cast<Classes::Kind>(kind);
  c.first = static_cast<int>(in.bits(7));
  if (c.first >= kSpreads) damaged(name, "a spread is out of range");
  if (c.kind == Classes::kOne) return;
  c.step = 1 << in.bits(2);
  c.count = 2 + static_cast<int>(in.number(3, kSpreads, "classes"));
  const bool predicted = in.bits(1) != 0;
  const int64_t center = predicted ? in.signed_number(8) : 0;
  const auto& scale = t.column_scale.half;
  if (predicted && static_cast<int64_t>(scale.size()) != t.live())
    damaged(name, "there are no scales to predict classes from");
  const int64_t last = c.count - 1;
  for (const int64_t v : read_sequence(in, t.live(), -last, last, "classes of columns", name)) {
    int64_t u = v;
    if (predicted)
      u += std::clamp<int64_t>(center + scale_index(scale[c.column.size()], c.step), 0, last);
    if (u < 0 || u > last) damaged(name, "a column's class is out of range");
    c.column.push_back(static_cast<int32_t>(u));
  }
  if (c.kind != Classes::kRows) return;
  for (const int64_t v : read_sequence(in, t.rows, 0, last, "classes of rows", name))
    c.row.push_back(static_cast<int32_t>(v));
}

// Without row classes only the columns' own classes occur.
std::vector<bool> used_classes(const Classes& c) {
  std::vector<bool> used(static_cast<size_t>(c.count), c.kind == Classes::kRows);
  for (const int32_t u : c.column) used[static_cast<size_t>(u)] = true;
  if (c.column.empty()) used[1] = true;
  return used;
}

}  // namespace

CodingHead read_model(BitReader& in, const QuantizedTensor& t, const std::string& name) {
  CodingHead head;
  head.qs = t.trellis > 0 ? 2 : 1;
  head.precision = kMinPrecision + static_cast<int>(in.bits(3));
  const auto cut = static_cast<int>(in.bits(2));
  const bool escape = in.bits(1) != 0;
  head.escape_parameter = static_cast<int>(in.bits(5));
  read_classes(in, t, head.classes, name);
  const std::vector<bool> used = used_classes(head.classes);
  const bool fitted = in.bits(1) != 0;
  head.tables.resize(static_cast<size_t>(int64_t{head.classes.count} * head.qs));
  head.escape = escape;
  for (size_t i = 0; i < head.tables.size(); ++i) {
    const int c = static_cast<int>(i) / head.qs, q = static_cast<int>(i) % head.qs;
    SymbolTable& table = head.tables[i];
    if (c == 0) {
      table.frequencies = {1U << head.precision};
      continue;
    }
    bool good = true;
    if (fitted && in.bits(1) != 0) {
      good = expand_table(read_table(in, name), head.precision, table);
    } else if (used[static_cast<size_t>(c)]) {
      good = gaussian_table(head.classes.spread(c), q, head.precision, cut, escape, table);
    }
    if (!good) damaged(name, "a table cannot be expanded");
    head.escape |= table.escape;
  }
  return head;
}

}  // namespace watersic
