#include "container/common_format.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <memory>

namespace watersic {

const char* name_of(SectionKind kind) {
  switch (kind) {
    case SectionKind::kText:
      return "text";
    case SectionKind::kBf16:
      return "bf16";
    case SectionKind::kF16:
      return "f16";
    case SectionKind::kQuantized:
      return "quantized";
  }
  return "unknown";
}

uint64_t hash64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

Hash128 hash128(std::span<const std::span<const std::byte>> pieces) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  XXH3_128bits_reset(state.get());
  for (const auto piece : pieces) XXH3_128bits_update(state.get(), piece.data(), piece.size());
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state.get()));
  Hash128 hash;
  std::ranges::transform(canonical.digest, hash.begin(),
                         [](unsigned char c) { return static_cast<std::byte>(c); });
  return hash;
}

std::string hex(const Hash128& hash) {
  std::string text;
  for (const std::byte b : hash) text += fmt::format("{:02x}", std::to_integer<unsigned>(b));
  return text;
}

std::string model_id(const std::vector<Section>& sections, std::string_view config) {
  std::vector<const Section*> tensors;
  for (const Section& s : sections)
    if (s.is_tensor()) tensors.push_back(&s);
  std::ranges::sort(tensors, {}, [](const Section* s) -> const std::string& { return s->name; });
  std::vector<std::byte> bytes;
  const auto append_text = [&](std::string_view text) {
    append_number(bytes, text.size(), 8);
    const auto raw = std::as_bytes(std::span(text));
    bytes.insert(bytes.end(), raw.begin(), raw.end());
  };
  append_text(config);
  for (const Section* s : tensors) {
    append_text(s->name);
    append_number(bytes, static_cast<uint64_t>(s->kind), 1);
    append_number(bytes, s->shape.size(), 1);
    for (const int64_t d : s->shape) append_number(bytes, static_cast<uint64_t>(d), 8);
    append_number(bytes, s->checksum, 8);
  }
  const std::span<const std::byte> piece(bytes);
  return hex(hash128({&piece, 1}));
}

void append_number(std::vector<std::byte>& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i) & 0xFF));
}

uint64_t read_number(std::span<const std::byte> in, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i)
    value |= std::to_integer<uint64_t>(in[static_cast<size_t>(i)]) << (8 * i);
  return value;
}

}  // namespace watersic
