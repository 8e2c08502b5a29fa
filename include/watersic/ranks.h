// Several processes that share one run, started by mpirun or srun (docs/scale.md).
#pragma once

namespace watersic {

// Made once, before the library is used; where the program was not started by MPI there is one
// rank. While it lives, quantize_model() is called by all ranks alike, and shares the work.
class Ranks {
 public:
  // Throws Error where MPI started the program and the library was built without it.
  Ranks();
  // Waits for the others.
  ~Ranks();  // NOLINT(performance-trivially-destructible): with MPI it is not
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const;
  int size() const;

  // For a rank that can't go on. True where all ranks say so within a moment: then each may end,
  // and rank 0 speaks for all. False where others are still at work, or gone: the rank should say
  // what happened and call end_all().
  bool all_failed() const;
  // Ends all ranks, this one as well, where there are several.
  void end_all(int exit_code) const;
};

// Whether this process is rank 0, which speaks for all.
bool is_first_rank();

}  // namespace watersic
