#include "coding/enc_grid.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "coding/common_rans.h"

namespace watersic {
namespace {

// A lane's state costs about 28 bits, of which 8 carry information.
constexpr double kBitsPerLane = 20;
constexpr double kLaneBudget = 0.0025;  // bits a weight, at most, for small layers
constexpr int kFullLanes = 32;
constexpr int64_t kSegmentRows = 1024, kGroupColumns = 1024;

// Equal parts of about `wanted`.
int64_t even_part(int64_t n, int64_t wanted) {
  const int64_t parts = std::max<int64_t>(1, (n + wanted / 2) / wanted);
  return std::max<int64_t>(1, (n + parts - 1) / parts);
}

}  // namespace

TileGrid choose_grid(int64_t rows, int64_t live, const CodingPlan& plan, int64_t segment_rows) {
  TileGrid grid;
  grid.rows = rows;
  grid.live = live;
  if (rows == 0 || live == 0) return grid;
  grid.lanes = plan.lanes;
  if (plan.lanes == 0) {
    const double affordable =
        kLaneBudget * static_cast<double>(rows) * static_cast<double>(live) / kBitsPerLane;
    const auto most = static_cast<uint64_t>(
        std::clamp<double>(std::min(affordable, static_cast<double>(live)), 1, kFullLanes));
    grid.lanes = static_cast<int>(std::bit_floor(most));
  }
  if (segment_rows == 0) segment_rows = plan.segment_rows;
  const int64_t fixed_rows = std::min(segment_rows, rows);
  grid.group_columns = plan.group_columns;
  if (plan.group_columns == 0) {
    const int64_t most = kMaxTileWeights / std::max<int64_t>(fixed_rows, 1);
    const int64_t columns = even_part(live, std::min(most, kGroupColumns));
    grid.group_columns = std::min((columns + grid.lanes - 1) / grid.lanes * grid.lanes, live);
    if (grid.group_columns > most)
      grid.group_columns = std::max<int64_t>(1, most / grid.lanes * grid.lanes);
  }
  grid.segment_rows = fixed_rows;
  if (fixed_rows == 0) {
    // Few columns make room for longer segments, and few rows would make tiles too small otherwise.
    const int64_t room = kMaxTileWeights / grid.group_columns;
    grid.segment_rows = even_part(rows, std::max(kSegmentRows, room / 2));
    if (grid.segment_rows > room)
      grid.segment_rows = even_part(rows, std::max<int64_t>(1, room / 2));
  }
  grid.group_columns = std::min(grid.group_columns, live);
  grid.segment_rows = std::min(grid.segment_rows, rows);
  assert(grid.segment_rows * grid.group_columns <= kMaxTileWeights);
  return grid;
}

void write_grid(HeadWriter& out, const TileGrid& grid) {
  out.bits(static_cast<uint64_t>(std::countr_zero(static_cast<uint32_t>(grid.lanes))), 3);
  out.exp_golomb(static_cast<uint64_t>(grid.segment_rows - 1), 8);
  out.exp_golomb(static_cast<uint64_t>(grid.group_columns - 1), 8);
}

double grid_bits(const TileGrid& grid) {
  double lanes = 0;
  for (int64_t t = 0; t < grid.tiles(); ++t) lanes += grid.active_lanes(grid.tile(t));
  // A tile ends on a whole word, and its length stands in the head.
  return lanes * kBitsPerLane + static_cast<double>(grid.tiles()) * (8 + 12);
}

}  // namespace watersic
