// The processes, called ranks, that share a run: one, or those that MPI started.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "watersic/matrix.h"

namespace watersic {

// All of a run's ranks call the same of these in the same order, with sizes that agree; a call
// returns when the rank has its result.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Ranks on this machine, this one included.
  virtual int neighbours() const { return size(); }
  bool alone() const { return size() == 1; }
  bool is_root() const { return rank() == 0; }

  // Those of even rank, or those of odd rank: this one among them, in the same order. Where there
  // is an even number of ranks.
  virtual const Communicator& every_second() const = 0;

  // What rank `root` has goes to all.
  virtual void broadcast(int root, std::span<std::byte> bytes) const = 0;
  // Number by number the sum over all ranks. It is exact, whatever their order, since each number
  // must be 0 on all ranks but one.
  virtual void merge(std::span<float> values) const = 0;
  virtual void merge(std::span<double> values) const = 0;
};

// Of the program that is not shared.
const Communicator& one_rank();
// Of the program as it was started; MPI's, where it was started by it.
const Communicator& all_ranks();

template <class T>
void broadcast(const Communicator& ranks, int root, std::span<T> values) {
  static_assert(std::is_trivially_copyable_v<T>);
  ranks.broadcast(root, std::as_writable_bytes(values));
}

// The same of things whose size `root` alone knows; what the others have is replaced.
template <class T>
void share(const Communicator& ranks, int root, std::vector<T>& values) {
  if (ranks.alone()) return;
  size_t size = values.size();
  broadcast<size_t>(ranks, root, {&size, 1});
  values.resize(size);
  broadcast<T>(ranks, root, values);
}
void share(const Communicator& ranks, int root, std::string& text);
void share(const Communicator& ranks, int root, Matrix<float>& matrix);
void share(const Communicator& ranks, int root, std::vector<std::vector<int32_t>>& windows);

// Runs on all ranks. Where it throws an Error on one of them, that is thrown on all.
void together(const Communicator& ranks, const std::function<void()>& work);
// The same of what rank 0 alone does.
void at_root(const Communicator& ranks, const std::function<void()>& work);

// How many threads a rank takes if nobody says: the processors that it is bound to, or its share of
// the machine's.
int threads_of_rank(const Communicator& ranks);

// Whether any rank says so.
bool any(const Communicator& ranks, bool mine);

}  // namespace watersic
