// A second reader of .wsic files, made from docs/format.md and nothing else: it needs the C++
// standard library and shares no line with the project's own decoder. It is written to be read, not
// to be fast. It proves that the page is complete, and the two decoders check each other.
//
//   independent_decoder FILE.wsic DIRECTORY
//
// decodes every coded tensor of the file and compares it, bit for bit, with the little-endian
// float32 matrix in DIRECTORY/NAME.f32.
//
// Left out: the checksums (XXH3) and the texts (zstd), for which one would take a library.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>

#include "independent_numbers.h"

// ---- Section 3: the coded tensor -------------------------------------------------------------

struct Scales {
  int exponent = 0;
  vector<u32> half;
  float at(i64 i) const {
    if (half.empty()) return 1;
    return float(std::ldexp(half_value(half[half.size() == 1 ? 0 : size_t(i)]), exponent));
  }
};

Scales scales(Bits& in, i64 each) {
  Scales s;
  const int kind = int(in.u(2));
  if (kind == 0) return s;
  s.exponent = int(in.se(4));
  const int zeros = int(in.u(4));
  const bool negative = in.u(1) == 1;
  for (i64 v : sequence(in, kind == 1 ? 1 : each)) s.half.push_back(u32(v) << zeros);
  if (negative)
    for (u32& h : s.half) h |= u32(in.u(1)) << 15;
  return s;
}

struct Matrix {
  i64 rows = 0, cols = 0;
  vector<float> v;
};

// Section 6: x R^T for each row.
void turn_back(Matrix& V, u64 seed) {
  u64 state[4];
  for (u64& word : state) {
    u64 z = (seed += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    word = z ^ (z >> 31);
  }
  const auto rotl = [](u64 x, int k) { return x << k | x >> (64 - k); };
  const auto next = [&] {
    const u64 result = rotl(state[1] * 5, 7) * 9, t = state[1] << 17;
    state[2] ^= state[0], state[3] ^= state[1], state[1] ^= state[2], state[0] ^= state[3];
    state[2] ^= t, state[3] = rotl(state[3], 45);
    return result;
  };
  const auto high = [](u64 a, u64 b) {  // the upper half of a * b, for b < 2^32
    return ((a >> 32) * b + ((a & 0xFFFFFFFFU) * b >> 32)) >> 32;
  };
  const size_t n = size_t(V.cols);
  size_t p = 1;
  while (2 * p <= n) p *= 2;
  struct Round {
    vector<size_t> from;
    vector<float> sign, again;
  } rounds[2];
  for (Round& round : rounds) {
    for (size_t j = 0; j < n; ++j) round.from.push_back(j);
    for (size_t j = n - 1; j > 0; --j) std::swap(round.from[j], round.from[high(next(), j + 1)]);
    for (size_t j = 0; j < n; ++j) round.sign.push_back(next() >> 63 ? -1.0F : 1.0F);
    for (size_t j = 0; j < n; ++j) round.again.push_back(next() >> 63 ? -1.0F : 1.0F);
  }
  const auto transform = [&](float* y) {
    for (size_t half = 1; half < p; half *= 2)
      for (size_t j = 0; j < p; ++j) {
        if (j & half) continue;
        const float a = y[j], b = y[j + half];
        y[j] = a + b, y[j + half] = a - b;
      }
    for (size_t j = 0; j < p; ++j) y[j] *= float(1 / std::sqrt(double(p)));
  };
  for (i64 r = 0; r < V.rows; ++r) {
    float* x = &V.v[size_t(r * V.cols)];
    vector<float> y(x, x + n);
    for (int k = 1; k >= 0; --k) {
      const Round& round = rounds[k];
      if (p < n) {
        transform(&y[n - p]);
        for (size_t j = 0; j < n; ++j) y[j] *= round.again[j];
      }
      transform(y.data());
      for (size_t j = 0; j < n; ++j) x[round.from[j]] = round.sign[j] * y[j];
      y.assign(x, x + n);
    }
  }
}

// The integers of versions 1 and 2; `in` stands behind the scales.
vector<i64> integers(Bits& in, const vector<uint16_t>& words, i64 rows, i64 live, int log_states,
                     const Scales& column_scale) {
  const bool trellis = log_states > 0;
  const i64 L = i64(1) << in.u(3), segment_rows = i64(in.eg(8)) + 1,
            tile_columns = i64(in.eg(8)) + 1;
  const int P = int(in.u(3)) + 8, cut = int(in.u(2));
  const bool escape = in.u(1) == 1;
  const int K = int(in.u(5)), kind = int(in.u(2)), first = int(in.u(7));
  int step = 1;
  i64 classes = 2;
  vector<i64> U(size_t(live), 1), R(size_t(rows), 1);
  if (kind > 0) {
    step = 1 << in.u(2);
    classes = i64(in.eg(3)) + 2;
    const bool predicted = in.u(1) == 1;
    const i64 center = predicted ? in.se(8) : 0;
    U = sequence(in, live);
    for (size_t i = 0; predicted && i < U.size(); ++i) {
      const i64 level = i64(column_scale.half.at(i) & 0x7FFF) / 128 / step;
      U[i] += std::clamp<i64>(center - level, 0, classes - 1);
    }
    if (kind == 2) R = sequence(in, rows);
  }
  const bool any_fitted = in.u(1) == 1;
  vector<Table> tables;
  bool lists = escape;
  for (i64 c = 0; c < classes; ++c) {
    for (int q = 0; q < (trellis ? 2 : 1); ++q) {
      if (c == 0) {
        tables.push_back({0, 1, false, {u64(1) << P}});
      } else if (any_fitted && in.u(1) == 1) {
        tables.push_back(fitted(in, P));
        lists |= tables.back().escape;
      } else {
        const int j = int(std::min<i64>(first + (c - 1) * step, 104));
        tables.push_back(gaussian(j, q, P, cut, escape));
      }
    }
  }
  const i64 across = (live + tile_columns - 1) / tile_columns;
  const i64 down = (rows + segment_rows - 1) / segment_rows;
  const vector<i64> sizes = sequence(in, across * down);
  require(in.x == 0 || in.x == 65536, "the head's state does not end where it should");
  in.finish();

  static const int h0[] = {0, 0, 05, 013, 023, 045, 0103, 0235, 0515};
  static const int h1[] = {0, 0, 02, 04, 04, 010, 024, 0126, 0362};
  vector<i64> codes(size_t(rows * live));
  size_t begin = in.next;
  for (i64 t = 0; t < across * down; ++t) {
    const i64 row0 = t / across * segment_rows, column0 = t % across * tile_columns;
    const i64 tile_rows = std::min(segment_rows, rows - row0),
              cols = std::min(tile_columns, live - column0);
    Bits tile{words, begin, begin + size_t(sizes[size_t(t)])};
    begin = tile.end;
    require(tile.end <= words.size(), "a tile beyond the end");
    vector<u64> x, list;
    for (i64 l = 0; l < std::min(L, cols); ++l) x.push_back(tile.state());
    if (lists) {
      const u64 n = tile.eg(3);
      for (u64 i = 0; i < n; ++i) list.push_back(tile.eg(K));
    }
    tile.finish();
    size_t word = tile.next, taken = 0;
    for (i64 pass = 0; pass < cols; pass += L) {
      vector<int> state(size_t(L), 0);
      for (i64 r = row0; r < row0 + tile_rows; ++r) {
        for (i64 l = 0; l < std::min(L, cols - pass); ++l) {
          const i64 i = column0 + pass + l;
          const i64 u = U[size_t(i)], v = R[size_t(r)];
          const i64 c = u == 0 || v == 0 ? 0 : std::min(u + v - 1, classes - 1);
          int& s = state[size_t(l)];
          const int q = s & 1;
          const Table& table = tables[size_t(trellis ? 2 * c + q : c)];
          u64& lane = x[size_t(l)];
          const u64 slot = lane % (u64(1) << P);
          size_t symbol = 0;
          u64 F = 0;
          while (slot >= F + table.f[symbol]) F += table.f[symbol++];
          lane = table.f[symbol] * (lane >> P) + slot - F;
          if (lane < 65536) {
            require(word < tile.end, "a tile's words run out");
            lane = lane * 65536 + words[word++];
          }
          i64 k = table.base + i64(symbol);
          if (i64(symbol) >= table.n)
            k = escaped(table, int(i64(symbol) - table.n), list.at(taken++));
          codes[size_t(r * live + i)] = trellis ? 2 * k + q : k;
          if (trellis)
            s = (s >> 1) ^ (q ? h0[log_states] >> 1 : 0) ^ (k & 1 ? h1[log_states] >> 1 : 0);
        }
      }
    }
    require(word == tile.end && taken == list.size(), "a tile has something left over");
    for (u64 lane : x) require(lane == 65536, "a lane does not end where it should");
  }
  require(begin == words.size(), "words are left over");
  return codes;
}

// ---- Section 5: the runnable tensor ----------------------------------------------------------

struct Runnable {
  vector<i64> codes;  // rows x live
  vector<i64> order;  // of the rows; empty: the strands'
};

i64 runnable_value(int L, i64 r, u64 window, i64 row) {
  const u64 ones = u64(1) << L;
  if (r < 4) {
    const u64 x = window + u64(row % 4) * 0x9E37;
    const u64 p = (x * 0x93AE + 0x9D2D) % ones * (65536 / ones), q = x * p % 65536;
    return 12 * (i64((p + q + 1) / 256) - 255);
  }
  const u64 p = window % ones * 0xD6C5 % 65536, q = window % ones * 0x9389 % 65536;
  return 17 * (i64((p % 256 + q % 256 + 1) / 2 + (p / 256 + q / 256 + 1) / 2) - 255);
}

// `in` stands behind the scales.
Runnable runnable(Bits& in, i64 rows, i64 live) {
  const int L = int(in.u(4)) + 8;
  const i64 segment = 64 * (i64(in.eg(4)) + 1), tiles = (rows + 63) / 64;
  const vector<i64> level = sequence(in, live), offset = sequence(in, tiles);
  const i64 count = i64(in.eg(4));
  const vector<i64> e_row = sequence(in, count), e_column = sequence(in, count),
                    e_value = sequence(in, count);
  Runnable out;
  if (in.u(1)) {
    int b = 0;
    while ((rows - 1) >> b) ++b;
    for (i64 k = 0; k < rows; ++k) out.order.push_back(i64(in.u(b)));
  }
  require(in.x == 0 || in.x == 65536, "the head's state does not end where it should");
  in.finish();

  struct Stream {
    i64 rate, stage, column;
  };
  vector<Stream> streams;
  for (i64 s = 0; s < 2; ++s)
    for (i64 i = 0; i < live; ++i)
      if (level[size_t(i)] - 24 * s + *std::max_element(offset.begin(), offset.end()) > 0)
        streams.push_back({level[size_t(i)] - 24 * s, s, i});
  std::stable_sort(streams.begin(), streams.end(),
                   [](const Stream& a, const Stream& b) { return a.rate > b.rate; });
  const auto byte = [&](i64 at) { return u64(in.words.at(size_t(at / 2)) >> at % 2 * 8 & 255); };
  const auto up = [](i64 at) { return (at + 31) / 32 * 32; };
  const i64 starts = up(2 * i64(in.next));
  const i64 n_segments = (rows + segment - 1) / segment, n = i64(streams.size());
  i64 at = up(starts + 2 * n_segments * n);
  out.codes.assign(size_t(rows * live), 0);
  vector<u64> window(streams.size());
  for (i64 t = 0; t < tiles; ++t) {
    for (i64 first = 0, end; first < n; first = end) {  // a block of streams
      for (end = first; end < n && end < first + 256; ++end)
        if (streams[size_t(end)].rate != streams[size_t(first)].rate) break;
      const i64 r = std::clamp<i64>(streams[size_t(first)].rate + offset[size_t(t)], 0, 24);
      for (i64 j = first; j < end; ++j) {
        u64& w = window[size_t(j)];
        if (64 * t % segment == 0) {
          const i64 start = starts + 2 * (64 * t / segment * n + j);
          w = byte(start) + 256 * byte(start + 1);
        }
        for (i64 row = 0; row < 64; ++row) {
          for (i64 bit = row * r / 4; bit < (row + 1) * r / 4; ++bit) {
            const i64 word = at + 2 * (bit / 16 * (end - first) + j - first);
            w = 2 * w % 65536 + ((byte(word) + 256 * byte(word + 1)) >> (15 - bit % 16)) % 2;
          }
          if (r == 0 || 64 * t + row >= rows) continue;
          const Stream& stream = streams[size_t(j)];
          out.codes[size_t((64 * t + row) * live + stream.column)] +=
              (stream.stage ? 1 : 60) * runnable_value(L, r, w, row);
        }
      }
      at += 2 * r * (end - first);
    }
  }
  require(at + 32 == 2 * i64(in.words.size()), "bytes are left over");
  i64 row = 0;
  for (size_t k = 0; k < e_row.size(); ++k)
    out.codes.at(size_t((row += e_row[k]) * live + e_column[k])) += 61440 * e_value[k];
  return out;
}

Matrix decode_tensor(const vector<uint16_t>& words) {
  Bits in{words, 0, words.size()};
  const u64 version = in.u(8);
  require((version >= 1 && version <= 2) || version == 5, "unknown version of the coded tensor");
  Matrix V;
  V.rows = i64(in.eg(8));
  V.cols = i64(in.eg(8));
  const int log_states = int(in.u(4));
  const bool trellis = log_states > 0;

  const u64 rotation = in.u(1) ? in.u(32) : 0;
  const i64 strands = version > 1 ? i64(in.eg(0)) + 1 : 1;

  vector<bool> dead(size_t(V.cols), false);
  const i64 dead_count = i64(in.eg(0));
  i64 column = 0;
  for (i64 gap : sequence(in, dead_count)) {
    column += gap;
    dead.at(size_t(column++)) = true;
  }
  const i64 live = V.cols - dead_count, groups = i64(in.eg(0));
  vector<i64> group;
  if (groups > 0) {
    i64 last = 0;
    for (i64 step : sequence(in, live)) group.push_back(last += step);
  }
  const Scales row_scale = scales(in, V.rows), column_scale = scales(in, live),
               group_scale = scales(in, V.rows * groups);
  V.v.assign(size_t(V.rows * V.cols), 0.0F);
  if (V.rows == 0 || live == 0) return V;

  vector<i64> codes, order;
  if (version == 5) {
    Runnable r = runnable(in, V.rows, live);
    codes = r.codes;
    order = r.order;
  } else {
    codes = integers(in, words, V.rows, live, log_states, column_scale);
  }

  // Section 6.
  i64 i = 0;
  for (i64 j = 0; j < V.cols; ++j) {
    if (dead[size_t(j)]) continue;
    for (i64 r = 0; r < V.rows; ++r) {
      const float scale = groups > 0 ? group_scale.at(r * groups + group[size_t(i)])
                                     : row_scale.at(r) * column_scale.at(i);
      const i64 row =
          order.empty() ? r % strands * (V.rows / strands) + r / strands : order.at(size_t(r));
      V.v[size_t(row * V.cols + j)] =
          scale * (float(codes[size_t(r * live + i)]) * (trellis ? 0.5F : 1.0F));
    }
    ++i;
  }
  if (rotation) turn_back(V, rotation);
  return V;
}

// ---- Section 2: the container ----------------------------------------------------------------

vector<unsigned char> read_bytes(const string& path) {
  std::ifstream file(path, std::ios::binary);
  require(bool(file), path + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Cursor {
  const vector<unsigned char>& bytes;
  size_t at;
  u64 number(int n) {
    u64 value = 0;
    for (int i = 0; i < n; ++i) value |= u64(bytes.at(at++)) << (8 * i);
    return value;
  }
  u64 varint() {
    u64 value = 0;
    for (int shift = 0;; shift += 7) {
      const u64 byte = number(1);
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  }
};

int run(const string& path, const string& directory) {
  const auto bytes = read_bytes(path);
  static const unsigned char magic[8] = {0x89, 0x57, 0x53, 0x49, 0x43, 0x0D, 0x0A, 0x1A};
  require(bytes.size() >= 64 && std::equal(magic, magic + 8, bytes.begin()), "not a .wsic file");
  Cursor header{bytes, 8};
  require(header.number(4) == 1, "unknown format version");
  require(header.number(4) == 0, "unknown flags");
  const u64 offset = header.number(8), length = header.number(8), sections = header.number(4);
  require(offset + length == bytes.size(), "the file has another length");

  Cursor table{bytes, offset};
  string name;
  size_t begin = 64;
  int compared = 0;
  for (u64 s = 0; s < sections; ++s) {
    const u64 kind_and_dimensions = table.number(1), shared = table.number(1);
    const u64 kind = kind_and_dimensions & 15, dimensions = kind_and_dimensions >> 4;
    name.resize(shared);
    for (u64 n = table.number(1); n > 0; --n) name += char(table.number(1));
    if (kind == 0) table.varint();
    vector<u64> shape;
    for (u64 d = 0; d < dimensions; ++d) shape.push_back(table.varint());
    const u64 size = table.varint();
    table.number(8);  // the checksum
    if (kind == 3) {
      vector<uint16_t> words;
      for (size_t i = 0; i < size; i += 2)
        words.push_back(uint16_t(bytes.at(begin + i) | bytes.at(begin + i + 1) << 8));
      const Matrix V = decode_tensor(words);
      require(u64(V.rows) == shape.at(0) && u64(V.cols) == shape.at(1), name + ": another shape");
      const auto expected = read_bytes(directory + "/" + name + ".f32");
      require(expected.size() == 4 * V.v.size(), name + ": another size was expected");
      for (size_t i = 0; i < V.v.size(); ++i) {
        u32 found = 0;
        std::memcpy(&found, &V.v[i], 4);
        Cursor want{expected, 4 * i};
        require(found == want.number(4), name + ": differs at element " + std::to_string(i));
      }
      ++compared;
    }
    begin += (size + 31) / 32 * 32;
  }
  require(begin == offset && table.at == bytes.size(),
          "the table of contents does not end the file");
  std::cout << compared << " tensors are equal\n";
  return compared > 0 ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: independent_decoder FILE.wsic DIRECTORY\n";
    return 2;
  }
  try {
    return run(argv[1], argv[2]);
  } catch (const std::exception& e) {
    std::cerr << argv[1] << ": " << e.what() << "\n";
    return 1;
  }
}
