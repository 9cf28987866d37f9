#include "comm/collectives.hpp"

#include "comm/collective_timer.hpp"
#include "comm/deadline.hpp"
#include "comm/error.hpp"
#include "comm/gpu_collectives.hpp"
#include "comm/shared_reduction.hpp"
#include "kernels/elementwise.hpp"

namespace hack::comm {
namespace {

// MPI counts are int: longer vectors go in pieces of this many numbers.
constexpr index_t piece = index_t{1} << 28;

template <class T>
void all_reduce(const Communicator& comm, T* x, index_t n, MPI_Datatype type, MPI_Op op) {
  if (comm.size() == 1) return;
  const CollectiveTimer::Scope timed(comm);
  const Deadline::Wait wait("MPI_Allreduce");
  for (index_t i = 0; i < n; i += piece) {
    const int count = static_cast<int>(std::min(piece, n - i));
    HACK_MPI(MPI_Allreduce(MPI_IN_PLACE, x + i, count, type, op, comm.native()));
  }
}

/// Decides how n numbers are summed: the memory that ranks of one node share, or null for MPI. By what all ranks of the
/// group know alike. On one node MPI was faster at no size by more than noise (README).
SharedReduction* shared_way(const Communicator& comm, index_t n) {
  return comm.size() > 1 && n > 0 ? comm.shared() : nullptr;
}

void all_reduce_floats(const Communicator& comm, float* x, index_t n) {
  if (SharedReduction* shared = shared_way(comm, n)) {
    const CollectiveTimer::Scope timed(comm);
    shared->sum(x, n);
  } else {
    all_reduce(comm, x, n, MPI_FLOAT, MPI_SUM);
  }
}

}  // namespace

template <>
void all_reduce_sum<Device::cpu>(const Communicator& comm, Queue<Device::cpu>&, MatrixView<float, Device::cpu> x) {
  HACK_EXPECT(x.ld == x.cols || x.rows <= 1);
  all_reduce_floats(comm, x.data, x.rows * x.cols);
}

template <>
void all_reduce_sum<Device::cuda>(const Communicator& comm, Queue<Device::cuda>& queue,
                                  MatrixView<float, Device::cuda> x) {
  HACK_EXPECT(x.ld == x.cols || x.rows <= 1);
  const index_t n = x.rows * x.cols;
  if (comm.size() == 1 || n == 0) return;
  if (GpuCollectives* gpu = comm.gpu()) {
    queue.resources().observe(gpu);
    gpu->all_reduce_sum(queue.resources().stream(), x.data, n);
    return;
  }
  queue.wait();
  std::vector<float> copy(static_cast<std::size_t>(n));
  kernels::copy_to_host<Device::cuda>(copy.data(), x.data, copy.size() * sizeof(float));
  all_reduce_floats(comm, copy.data(), n);
  kernels::copy_from_host<Device::cuda>(x.data, copy.data(), copy.size() * sizeof(float));
}

template <>
void add_all_reduced<Device::cpu>(const Communicator& comm, Queue<Device::cpu>& queue, MatrixView<float, Device::cpu> y,
                                  MatrixView<float, Device::cpu> x) {
  HACK_EXPECT(x.rows == y.rows && x.cols == y.cols);
  const bool contiguous = (x.ld == x.cols && y.ld == y.cols) || x.rows <= 1;
  HACK_EXPECT(contiguous);
  const index_t n = x.rows * x.cols;
  if (SharedReduction* shared = shared_way(comm, n)) {
    const CollectiveTimer::Scope timed(comm);
    shared->add_sum(y.data, x.data, n);
  } else {
    all_reduce(comm, y.data, n, MPI_FLOAT, MPI_SUM);
    kernels::add<Device::cpu>(queue, y, x);
  }
}

template <>
void add_all_reduced<Device::cuda>(const Communicator& comm, Queue<Device::cuda>& queue,
                                   MatrixView<float, Device::cuda> y, MatrixView<float, Device::cuda> x) {
  all_reduce_sum<Device::cuda>(comm, queue, y);
  kernels::add<Device::cuda>(queue, y, x);
}

void all_reduce_sum(const Communicator& comm, std::span<float> x) { all_reduce_floats(comm, x.data(), std::ssize(x)); }

void all_reduce_sum_by_mpi(const Communicator& comm, std::span<float> x) {
  all_reduce(comm, x.data(), std::ssize(x), MPI_FLOAT, MPI_SUM);
}

void all_reduce_sum(const Communicator& comm, std::span<double> x) {
  all_reduce(comm, x.data(), std::ssize(x), MPI_DOUBLE, MPI_SUM);
}

void all_reduce_sum(const Communicator& comm, std::span<std::int64_t> x) {
  all_reduce(comm, x.data(), std::ssize(x), MPI_INT64_T, MPI_SUM);
}

void all_reduce_max(const Communicator& comm, std::span<float> x) {
  all_reduce(comm, x.data(), std::ssize(x), MPI_FLOAT, MPI_MAX);
}

double all_reduce_max(const Communicator& comm, double x) {
  all_reduce(comm, &x, 1, MPI_DOUBLE, MPI_MAX);
  return x;
}

double all_reduce_sum(const Communicator& comm, double x) {
  all_reduce(comm, &x, 1, MPI_DOUBLE, MPI_SUM);
  return x;
}

std::vector<std::byte> gather_bytes(const Communicator& comm, std::span<const std::byte> mine, Receivers receivers) {
  const CollectiveTimer::Scope timed(comm);
  const Deadline::Wait wait("MPI_Gatherv");
  // Counts are in bytes and int: 2 GiB a call is far above what is gathered (tables, losses, spectra).
  HACK_EXPECT(std::ssize(mine) < (index_t{1} << 31));
  const int count = static_cast<int>(mine.size());
  std::vector<int> counts(comm.size());
  HACK_MPI(MPI_Allgather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, comm.native()));
  std::vector<int> offsets(comm.size());
  index_t total = 0;
  for (int r = 0; r < comm.size(); ++r) {
    offsets[r] = static_cast<int>(total);
    total += counts[r];
    validate(total < (index_t{1} << 31), "too much to gather in one call ({} bytes)", total);
  }
  const bool receives = receivers == Receivers::all || comm.is_root();
  std::vector<std::byte> all(receives ? total : 0);
  if (receivers == Receivers::all) {
    HACK_MPI(MPI_Allgatherv(mine.data(), count, MPI_BYTE, all.data(), counts.data(), offsets.data(), MPI_BYTE,
                            comm.native()));
  } else {
    HACK_MPI(MPI_Gatherv(mine.data(), count, MPI_BYTE, all.data(), counts.data(), offsets.data(), MPI_BYTE, 0,
                         comm.native()));
  }
  return all;
}

void broadcast(const Communicator& comm, std::span<std::byte> bytes, int root) {
  const CollectiveTimer::Scope timed(comm);
  const Deadline::Wait wait("MPI_Bcast");
  for (index_t i = 0; i < std::ssize(bytes); i += piece) {
    const int count = static_cast<int>(std::min(piece, std::ssize(bytes) - i));
    HACK_MPI(MPI_Bcast(bytes.data() + i, count, MPI_BYTE, root, comm.native()));
  }
}

namespace {

template <class Container>
void broadcast_resized(const Communicator& comm, Container& items) {
  std::int64_t size = std::ssize(items);
  broadcast(comm, std::as_writable_bytes(std::span(&size, 1)));
  items.resize(size);
  broadcast(comm, std::as_writable_bytes(std::span(items)));
}

}  // namespace

void broadcast(const Communicator& comm, std::string& text) { broadcast_resized(comm, text); }

void broadcast(const Communicator& comm, std::vector<int>& ids) { broadcast_resized(comm, ids); }

std::int64_t exclusive_sum(const Communicator& comm, std::int64_t mine) {
  const Deadline::Wait wait("MPI_Exscan");
  std::int64_t before = 0;
  HACK_MPI(MPI_Exscan(&mine, &before, 1, MPI_INT64_T, MPI_SUM, comm.native()));
  return comm.is_root() ? 0 : before;  // MPI leaves rank 0's result undefined
}

}  // namespace hack::comm
