#include "dist/communicator.h"

#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <thread>

#include "watersic/error.h"

namespace watersic {
namespace {

class OneRank : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  const Communicator& every_second() const override { return *this; }
  void broadcast(int /*root*/, std::span<std::byte> /*bytes*/) const override {}
  void merge(std::span<float> /*values*/) const override {}
  void merge(std::span<double> /*values*/) const override {}
};

}  // namespace

const Communicator& one_rank() {
  static const OneRank ranks;
  return ranks;
}

void share(const Communicator& ranks, int root, std::string& text) {
  std::vector<char> bytes(text.begin(), text.end());
  share(ranks, root, bytes);
  text.assign(bytes.begin(), bytes.end());
}

void share(const Communicator& ranks, int root, Matrix<float>& matrix) {
  if (ranks.alone()) return;
  int64_t shape[] = {matrix.rows(), matrix.cols()};
  broadcast<int64_t>(ranks, root, shape);
  if (ranks.rank() != root) matrix = Matrix<float>(shape[0], shape[1]);
  broadcast<float>(ranks, root, matrix.values());
}

void share(const Communicator& ranks, int root, std::vector<std::vector<int32_t>>& windows) {
  if (ranks.alone()) return;
  size_t count = windows.size();
  broadcast<size_t>(ranks, root, {&count, 1});
  windows.resize(count);
  for (auto& window : windows) share(ranks, root, window);
}

void together(const Communicator& ranks, const std::function<void()>& work) {
  if (ranks.alone()) {
    work();
    return;
  }
  std::string message;
  bool failed = false;
  try {
    work();
  } catch (const Error& e) {
    failed = true;
    message = e.what();
  }
  std::vector<double> failures(static_cast<size_t>(ranks.size()));
  failures[static_cast<size_t>(ranks.rank())] = failed ? 1 : 0;
  ranks.merge(failures);
  for (int rank = 0; rank < ranks.size(); ++rank) {
    if (failures[static_cast<size_t>(rank)] == 0) continue;
    share(ranks, rank, message);
    throw Error(message);
  }
}

void at_root(const Communicator& ranks, const std::function<void()>& work) {
  together(ranks, [&] {
    if (ranks.is_root()) work();
  });
}

int threads_of_rank(const Communicator& ranks) {
  const auto all = static_cast<int>(std::thread::hardware_concurrency());
  int mine = all;
#ifdef __linux__
  cpu_set_t bound;
  if (::sched_getaffinity(0, sizeof bound, &bound) == 0) mine = CPU_COUNT(&bound);
  if (mine < static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)) && !ranks.alone())
    return std::max(1, mine);
#endif
  return std::max(1, mine / ranks.neighbours());
}

bool any(const Communicator& ranks, bool mine) {
  double sum = mine ? 1 : 0;
  ranks.merge(std::span(&sum, 1));
  return sum > 0;
}

}  // namespace watersic
