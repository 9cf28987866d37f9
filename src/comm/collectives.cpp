#include "comm/collectives.hpp"

#include "comm/collective_timer.hpp"
#include "comm/deadline.hpp"
#include "comm/error.hpp"
#include "comm/gpu_collectives.hpp"

namespace hack::comm {
namespace {

// MPI counts are int: longer vectors go in pieces of this many numbers.
constexpr index_t piece = index_t{1} << 28;

template <class T>
void all_reduce(const Communicator& comm, T* x, index_t n, MPI_Datatype type, MPI_Op op) {
  if (comm.size() == 1) return;
  const Deadline::Wait wait("MPI_Allreduce");
  const CollectiveTimer::Scope timed(comm);
  for (index_t i = 0; i < n; i += piece) {
    const int count = static_cast<int>(std::min(piece, n - i));
    HACK_MPI(MPI_Allreduce(MPI_IN_PLACE, x + i, count, type, op, comm.native()));
  }
}

}  // namespace

template <>
void all_reduce_sum<Device::cpu>(const Communicator& comm, Queue<Device::cpu>&, MatrixView<float, Device::cpu> x) {
  HACK_EXPECT(x.ld == x.cols || x.rows <= 1);
  all_reduce(comm, x.data, x.rows * x.cols, MPI_FLOAT, MPI_SUM);
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
  all_reduce(comm, copy.data(), n, MPI_FLOAT, MPI_SUM);
  kernels::copy_from_host<Device::cuda>(x.data, copy.data(), copy.size() * sizeof(float));
}

void all_reduce_sum(const Communicator& comm, std::span<float> x) {
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
  const Deadline::Wait wait("MPI_Gatherv");
  const CollectiveTimer::Scope timed(comm);
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
  const Deadline::Wait wait("MPI_Bcast");
  const CollectiveTimer::Scope timed(comm);
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
