#include "kernels/aligned_bytes.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace watersic {

AlignedBytes::AlignedBytes(int64_t size) : size_(size) {
  constexpr int64_t kLine = 64, kHugePage = int64_t{2} << 20;
  if (size <= 0) return;
  const int64_t alignment = size >= kHugePage ? kHugePage : kLine;
  const auto rounded = static_cast<size_t>((size + kLine - 1) / kLine * kLine);
  void* memory = nullptr;
  if (posix_memalign(&memory, static_cast<size_t>(alignment), rounded) != 0) throw std::bad_alloc();
  data_.reset(static_cast<uint8_t*>(memory));
#ifdef MADV_HUGEPAGE
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish: it may fail
#endif
  std::memset(memory, 0, rounded);
}

}  // namespace watersic
