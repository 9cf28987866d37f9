#pragma once

#include <mpi.h>

#include <memory>

namespace hack::comm {

class GpuCollectives;
class SharedReduction;

/// A group of MPI ranks. Owns its MPI_Comm (a duplicate or a split), so that its messages meet nobody else's; moves.
class Communicator {
 public:
  /// All ranks of the run.
  static Communicator world();
  /// This rank alone.
  static Communicator self();

  Communicator(Communicator&& other) noexcept;
  Communicator& operator=(Communicator&& other) noexcept;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ~Communicator();

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_root() const { return rank_ == 0; }
  MPI_Comm native() const { return comm_; }

  /// Ranks with the same color form one group each, ordered by key. Collective.
  Communicator split(int color, int key) const;
  /// The ranks that share this rank's memory (its node). Collective.
  Communicator split_by_node() const;

  void barrier() const;
  /// The same for a rank that has nothing to do until then, however long that takes: it sleeps, so that it takes
  /// neither core nor memory bandwidth from those that work, and no deadline counts.
  void barrier_asleep() const;

  /// Collectives on GPU memory of this group, made at the first call (collective); null where they go through host
  /// memory.
  GpuCollectives* gpu() const;
  /// Sums through memory that all ranks of this group share, made at the first call (collective); null where they do
  /// not share any.
  SharedReduction* shared() const;

 private:
  explicit Communicator(MPI_Comm owned);

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  mutable bool has_gpu_ = false;  // whether gpu_ has been made, null or not
  mutable std::shared_ptr<GpuCollectives> gpu_;
  mutable bool has_shared_ = false;  // whether shared_ has been made, null or not
  mutable std::unique_ptr<SharedReduction> shared_;
};

}  // namespace hack::comm
