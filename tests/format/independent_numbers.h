// What the independent decoder reads numbers with: docs/format.md, sections 1 and 4.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

using std::string;
using std::vector;
using u32 = uint32_t;
using u64 = uint64_t;
using i64 = int64_t;

inline void require(bool good, const string& what) {
  if (!good) throw std::runtime_error(what);
}

// ---- Section 1: numbers ----------------------------------------------------------------------

inline i64 floor_div(i64 a, i64 b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
inline i64 unzigzag(u64 v) { return v % 2 == 0 ? i64(v / 2) : -i64(v / 2) - 1; }

inline double half_value(u32 h) {
  const int exponent = h >> 10 & 31;
  const double fraction = (h & 1023) / 1024.0;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
  return h >> 15 ? -magnitude : magnitude;
}

// ---- Section 4: tables -----------------------------------------------------------------------

struct Table {
  i64 base = 0, n = 1;
  bool escape = false;
  vector<u64> f;
};

inline u64 weight(i64 level) {
  return u64(std::llround(32768 * std::exp2((level % 64) / 64.0))) << (level / 64);
}

inline vector<u64> frequencies(const vector<u64>& W, int P) {
  u64 S = 0, c = 0, X = 0;
  for (u64 w : W) S += w, c += w > 0;
  require(c > 0 && c <= u64(1) << P, "a table without symbols or with too many");
  const u64 q = S >> P;
  for (u64 w : W) X += w > q ? w - q : 0;
  vector<u64> f;
  u64 R = 0, before = 0;
  for (u64 w : W) {
    if (w == 0) {
      f.push_back(0);
      continue;
    }
    R += w > q ? w - q : 0;
    const u64 share = X == 0 ? 0 : R * ((u64(1) << P) - c) / X;
    f.push_back(1 + share - before);
    before = share;
  }
  return f;
}

inline Table gaussian(int j, int q, int P, int cut, bool escape) {
  static const u64 A[4] = {193635251, 162827188, 136920799, 115136209};
  require(j <= 104, "a spread out of range");
  const auto W = [&](i64 m) -> u64 {
    const u64 drop = (A[j % 4] * u64(m * m - q)) >> (16 + j / 4);
    return drop > 1087 ? 0 : weight(1087 - i64(drop));
  };
  u64 S = 0;
  i64 most = q;  // the largest m with a weight
  for (i64 m = q; W(m) > 0; m += 2) {
    S += m == 0 ? W(m) : 2 * W(m);
    most = m;
  }
  i64 last = q;  // the largest m with a symbol
  while (last + 2 <= most && (last + 2 - q) / 2 < 2046 && W(last + 2) << (P + cut) >= S) last += 2;
  Table t;
  t.base = floor_div(-last, 2);  // k of m = -last; (m - q) / 2 is whole
  t.n = floor_div(last, 2) - t.base + 1;
  t.escape = escape;
  vector<u64> all;
  for (i64 k = t.base; k < t.base + t.n; ++k) all.push_back(W(2 * k + q));
  if (escape) {
    u64 tail[2] = {0, 0};
    for (i64 k = floor_div(-most, 2); k <= floor_div(most, 2); ++k)
      if (k < t.base || k >= t.base + t.n) tail[k & 1] += W(2 * k + q);
    all.push_back(std::max<u64>(1, tail[0]));
    all.push_back(std::max<u64>(1, tail[1]));
  }
  t.f = frequencies(all, P);
  return t;
}

// The integer that an escape of known parity stands for.
inline i64 escaped(const Table& t, int parity, u64 v) {
  if (v % 2 == 1) {  // above
    i64 first = t.base + t.n;
    if ((first & 1) != parity) ++first;
    return first + i64(v / 2) * 2;
  }
  i64 first = t.base - 1;
  if ((first & 1) != parity) --first;
  return first - i64(v / 2) * 2;
}

// ---- Bit streams, rANS -----------------------------------------------------------------------

struct Bits {
  const vector<uint16_t>& words;
  size_t next = 0, end = 0;
  int used = 16;  // bits of the word before `next`
  u64 x = 0;      // the head's rANS state

  u64 u(int n) {
    u64 value = 0;
    for (int i = 0; i < n; ++i) {
      if (used == 16) {
        require(next < end, "a bit stream ends early");
        ++next;
        used = 0;
      }
      value |= u64(words[next - 1] >> used++ & 1) << i;
    }
    return value;
  }
  u64 eg(int k) {
    int n = k;
    while (u(1) == 0) ++n;
    require(n <= 40, "a number is too long");
    return (u64(1) << n) + u(n) - (u64(1) << k);
  }
  i64 se(int k) { return unzigzag(eg(k)); }
  u64 state() {
    const int w = int(u(4)) + 16;
    return (u64(1) << w) + u(w);
  }
  // A symbol of the head's own rANS.
  size_t symbol(const Table& t, int P) {
    if (x == 0) x = state();
    const u64 slot = x % (u64(1) << P);
    size_t s = 0;
    u64 F = 0;
    while (slot >= F + t.f[s]) F += t.f[s++];
    x = t.f[s] * (x >> P) + slot - F;
    if (x < 65536) x = x * 65536 + u(16);
    return s;
  }
  void finish() {
    while (used != 16) require(u(1) == 0, "padding is not zero");
  }
};

inline Table fitted(Bits& in, int P) {
  Table t;
  t.n = i64(in.eg(4)) + 1;
  t.base = in.se(4);
  t.escape = in.u(1) == 1;
  if (t.n == 1 && !t.escape) {
    t.f = {u64(1) << P};
    return t;
  }
  const int shift = int(in.u(3)), z = int(in.u(3)), order = int(in.u(1)) + 1, k = int(in.u(4));
  const i64 bias = in.se(2);
  vector<i64> knot = {i64(in.eg(3))};
  const i64 m = ((t.n - 1 + (1 << z) - 1) >> z) + 1;
  for (i64 i = 1; i < m; ++i) {
    const i64 line = order == 1 || i == 1 ? knot[i - 1] : 2 * knot[i - 1] - knot[i - 2];
    knot.push_back(line + (order == 2 && i == 1 ? 0 : bias) + in.se(k));
  }
  vector<u64> W;
  for (i64 s = 0; s < t.n; ++s) {
    const i64 i = s >> z, j = s & ((1 << z) - 1);
    if (z == 0) {
      W.push_back(knot[i] == 0 ? 0 : weight((knot[i] - 1) << shift));
      continue;
    }
    const i64 a = knot[i] << shift, b = j == 0 ? a : knot[i + 1] << shift;
    W.push_back(weight(((a << z) + j * (b - a)) >> z));
  }
  if (t.escape) W.resize(W.size() + 2, weight(i64(in.eg(3)) << shift));
  t.f = frequencies(W, P);
  return t;
}

// ---- Sequences -------------------------------------------------------------------------------

inline vector<i64> sequence(Bits& in, i64 count) {
  vector<i64> values;
  if (count == 0) return values;
  const int kind = int(in.u(2));
  if (kind == 0) return vector<i64>(size_t(count), in.se(8));
  const int low = int(in.u(4));
  const i64 center = kind == 3 ? 0 : in.se(8);
  int k = 0, P = 0;
  Table t;
  if (kind == 1) k = int(in.u(4));
  if (kind == 2) {
    const int q = int(in.u(1)), spread = int(in.u(7));
    P = int(in.u(3)) + 8;
    t = gaussian(spread, q, P, 0, true);
  }
  if (kind == 3) {
    P = int(in.u(3)) + 8;
    t = fitted(in, P);
  }
  for (i64 i = 0; i < count; ++i) {
    i64 upper = 0;
    if (kind == 1) {
      upper = in.se(k);
    } else {
      const i64 s = i64(in.symbol(t, P));
      upper = s < t.n ? t.base + s : escaped(t, int(s - t.n), in.eg(2));
    }
    values.push_back((upper + center) * (i64(1) << low) + i64(in.u(low)));
  }
  return values;
}
