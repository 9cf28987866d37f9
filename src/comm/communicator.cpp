#include "comm/communicator.hpp"

#include <chrono>
#include <thread>
#include <utility>

#include "comm/deadline.hpp"
#include "comm/error.hpp"
#include "comm/gpu_collectives.hpp"
#include "comm/shared_reduction.hpp"

namespace hack::comm {
namespace {

MPI_Comm duplicate(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  HACK_MPI(MPI_Comm_dup(comm, &copy));
  return copy;
}

}  // namespace

Communicator::Communicator(MPI_Comm owned) : comm_(owned) {
  HACK_MPI(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
  HACK_MPI(MPI_Comm_rank(comm_, &rank_));
  HACK_MPI(MPI_Comm_size(comm_, &size_));
}

Communicator Communicator::world() { return Communicator(duplicate(MPI_COMM_WORLD)); }

Communicator Communicator::self() { return Communicator(duplicate(MPI_COMM_SELF)); }

Communicator::Communicator(Communicator&& other) noexcept
    : comm_(std::exchange(other.comm_, MPI_COMM_NULL)),
      rank_(other.rank_),
      size_(other.size_),
      has_gpu_(other.has_gpu_),
      gpu_(std::move(other.gpu_)),
      has_shared_(other.has_shared_),
      shared_(std::move(other.shared_)) {}

Communicator& Communicator::operator=(Communicator&& other) noexcept {
  std::swap(comm_, other.comm_);
  std::swap(rank_, other.rank_);
  std::swap(size_, other.size_);
  std::swap(has_gpu_, other.has_gpu_);
  std::swap(gpu_, other.gpu_);
  std::swap(has_shared_, other.has_shared_);
  std::swap(shared_, other.shared_);
  return *this;
}

Communicator::~Communicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (comm_ != MPI_COMM_NULL && !finalized) MPI_Comm_free(&comm_);
}

Communicator Communicator::split(int color, int key) const {
  const Deadline::Wait wait("MPI_Comm_split");
  MPI_Comm part = MPI_COMM_NULL;
  HACK_MPI(MPI_Comm_split(comm_, color, key, &part));
  return Communicator(part);
}

Communicator Communicator::split_by_node() const {
  const Deadline::Wait wait("MPI_Comm_split_type");
  MPI_Comm part = MPI_COMM_NULL;
  HACK_MPI(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &part));
  return Communicator(part);
}

GpuCollectives* Communicator::gpu() const {
  if (!has_gpu_) gpu_ = make_gpu_collectives(*this);
  has_gpu_ = true;
  return gpu_.get();
}

SharedReduction* Communicator::shared() const {
  if (!has_shared_) shared_ = SharedReduction::make(*this);
  has_shared_ = true;
  return shared_.get();
}

void Communicator::barrier() const {
  const Deadline::Wait wait("MPI_Barrier");
  HACK_MPI(MPI_Barrier(comm_));
}

void Communicator::barrier_asleep() const {
  MPI_Request request = MPI_REQUEST_NULL;
  HACK_MPI(MPI_Ibarrier(comm_, &request));
  for (int done = 0;;) {
    HACK_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace hack::comm
