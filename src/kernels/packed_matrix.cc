#include "kernels/packed_matrix.h"

#include <array>
#include <atomic>
#include <cassert>

#include "base/memory.h"

namespace watersic {
namespace {

// One column of a plane.
template <int kBits>
void set_plane(uint8_t* plane, std::span<const uint32_t, kTileRows> values, int shift,
               bool shared) {
  constexpr uint32_t kMask = (1U << kBits) - 1;
  for (size_t vector = 0; vector < kBits; ++vector) {
    std::array<uint32_t, 8> bytes{};
    for (size_t i = 0; i < 8 / kBits; ++i)
      for (size_t lane = 0; lane < 8; ++lane)
        bytes[lane] |= (values[8 * (vector + i * kBits) + lane] >> shift & kMask) << (i * kBits);
    for (size_t lane = 0; lane < 8; ++lane) {
      uint8_t& out = plane[vector * kUnitBytes + lane * 4];
      const auto byte = static_cast<uint8_t>(bytes[lane]);
      if (shared) {
        std::atomic_ref(out).fetch_or(byte, std::memory_order_relaxed);
      } else {
        out = byte;
      }
    }
  }
}

}  // namespace

int64_t PackedMatrix::bytes() const {
  return bytes_of(source) + bytes_of(scale) + bytes_of(base) + bytes_of(shift) + bytes_of(blocks) +
         data.size() + bytes_of(exceptions) + bytes_of(exception_begin) + bytes_of(column_scale) +
         bytes_of(row_scale) + bytes_of(group_scale) + bytes_of(column_group);
}

TileExceptions PackedMatrix::exceptions_of(int64_t tile) const {
  return {.values = tile_part(exceptions, exception_begin, tile),
          .column_scale = column_scale.data(),
          .group_scale = groups == 0 ? nullptr : group_scale.data() + tile * groups * kTileRows,
          .column_group = column_group.data()};
}

int32_t packed_value(std::span<const uint8_t> quad, int width, int64_t r, int64_t c) {
  assert(width >= 1 && width <= kMaxPlaneWidth);
  const int64_t unit = r / 8;
  int32_t value = 0;
  int64_t plane = 0;  // where it begins
  int from = 0;       // its bits in the value
  for (const int bits : {4, 2, 1}) {
    if ((width & bits) == 0) continue;
    const auto byte = quad[static_cast<size_t>(plane + unit % bits * kUnitBytes + r % 8 * 4 + c)];
    value |= (byte >> (unit / bits * bits) & ((1 << bits) - 1)) << from;
    plane += bits * kUnitBytes;
    from += bits;
  }
  return value;
}

void set_packed_column(std::span<uint8_t> quad, int width, int64_t c,
                       std::span<const uint32_t, kTileRows> values, int shift, bool shared) {
  uint8_t* plane = quad.data() + c;
  const auto set = [&]<int kBits>() {
    if ((width & kBits) == 0) return;
    set_plane<kBits>(plane, values, shift, shared);
    plane += kBits * kUnitBytes;
    shift += kBits;
  };
  set.template operator()<4>();
  set.template operator()<2>();
  set.template operator()<1>();
}

}  // namespace watersic
