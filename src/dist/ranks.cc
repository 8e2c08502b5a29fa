// The ranks that the program was started with. Without WATERSIC_MPI there is one.
#include "watersic/ranks.h"

#include <cstdlib>

#include "dist/communicator.h"
#include "watersic/error.h"

#ifdef WATERSIC_MPI
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#endif

namespace watersic {
namespace {

// Launchers tell the processes how many they are before MPI is asked: a program that none of them
// started does without MPI, which takes its time to begin.
bool started_by_mpi() {
  for (const char* name :
       {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_SIZE"})
    if (std::getenv(name) != nullptr) return true;
  return false;
}

#ifdef WATERSIC_MPI

// Fewer than an int counts, and small enough for buffers that MPI may make.
constexpr size_t kPart = size_t{1} << 24;

template <class T, class Call>
void in_parts(std::span<T> values, const Call& call) {
  for (size_t at = 0; at < values.size(); at += kPart)
    call(values.subspan(at, std::min(kPart, values.size() - at)));
}

class MpiRanks : public Communicator {
 public:
  explicit MpiRanks(MPI_Comm ranks) : ranks_(ranks) {
    MPI_Comm_rank(ranks, &rank_);
    MPI_Comm_size(ranks, &size_);
    MPI_Comm here = MPI_COMM_NULL;
    MPI_Comm_split_type(ranks, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &neighbours_);
    MPI_Comm_free(&here);
  }
  void split() {
    if (size_ % 2 != 0) return;
    MPI_Comm half = MPI_COMM_NULL;
    MPI_Comm_split(ranks_, rank_ % 2, rank_, &half);
    every_second_ = std::make_unique<MpiRanks>(half);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int neighbours() const override { return neighbours_; }
  const Communicator& every_second() const override { return *every_second_; }
  void broadcast(int root, std::span<std::byte> bytes) const override {
    in_parts(bytes, [&](std::span<std::byte> part) {
      MPI_Bcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, root, ranks_);
    });
  }
  void merge(std::span<float> values) const override { sum(values, MPI_FLOAT); }
  void merge(std::span<double> values) const override { sum(values, MPI_DOUBLE); }

 private:
  template <class T>
  void sum(std::span<T> values, MPI_Datatype type) const {
    in_parts(values, [&](std::span<T> part) {
      MPI_Allreduce(MPI_IN_PLACE, part.data(), static_cast<int>(part.size()), type, MPI_SUM,
                    ranks_);
    });
  }

  MPI_Comm ranks_;
  int rank_ = 0, size_ = 1, neighbours_ = 1;
  std::unique_ptr<MpiRanks> every_second_;
};

// MPI, from beginning to end.
class Mpi {
 public:
  Mpi() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_dup(MPI_COMM_WORLD, &failures_);
    world_ = std::make_unique<MpiRanks>(MPI_COMM_WORLD);
    world_->split();
  }
  Mpi(const Mpi&) = delete;
  Mpi& operator=(const Mpi&) = delete;
  ~Mpi() { MPI_Finalize(); }

  const Communicator& world() const { return *world_; }
  bool all_failed() const {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ibarrier(failures_, &request);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(3);
    int done = 0;
    while (MPI_Test(&request, &done, MPI_STATUS_IGNORE), done == 0) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

 private:
  MPI_Comm failures_ = MPI_COMM_NULL;
  std::unique_ptr<MpiRanks> world_;
};

std::unique_ptr<Mpi>& joined() {
  static std::unique_ptr<Mpi> mpi;
  return mpi;
}

#endif

}  // namespace

#ifdef WATERSIC_MPI

const Communicator& all_ranks() {
  if (joined()) return joined()->world();
  return one_rank();
}

Ranks::Ranks() {
  if (started_by_mpi()) joined() = std::make_unique<Mpi>();
}
Ranks::~Ranks() { joined().reset(); }

bool Ranks::all_failed() const { return !joined() || joined()->all_failed(); }

void Ranks::end_all(int exit_code) const {
  if (joined()) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

#else

const Communicator& all_ranks() { return one_rank(); }

Ranks::Ranks() {
  const char* count = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (count == nullptr) count = std::getenv("PMI_SIZE");
  if (started_by_mpi() && (count == nullptr || std::atoi(count) > 1)) {
    throw Error("started by MPI, and built without it: build with -DWATERSIC_MPI=ON");
  }
}
Ranks::~Ranks() = default;

bool Ranks::all_failed() const { return true; }
void Ranks::end_all(int /*exit_code*/) const {}

#endif

bool is_first_rank() { return all_ranks().is_root(); }

int Ranks::rank() const { return all_ranks().rank(); }
int Ranks::size() const { return all_ranks().size(); }

}  // namespace watersic
