#include "comm/row_collectives.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "comm/collective_timer.hpp"
#include "comm/deadline.hpp"
#include "comm/error.hpp"
#include "comm/gpu_collectives.hpp"

namespace hack::comm {
namespace {

template <Device D>
index_t numbers_of(const Communicator& comm, MatrixView<const float, D> mine, MatrixView<const float, D> all) {
  HACK_EXPECT(all.rows == comm.size() * mine.rows && all.cols == mine.cols);
  HACK_EXPECT((mine.ld == mine.cols || mine.rows <= 1) && (all.ld == all.cols || all.rows <= 1));
  const index_t n = mine.rows * mine.cols;
  validate(n <= std::numeric_limits<int>::max(), "too much to exchange in one call ({} numbers)", n);
  return n;
}

void reduce_scatter(const Communicator& comm, const float* x, index_t n, float* mine) {
  const Deadline::Wait wait("MPI_Reduce_scatter_block");
  const CollectiveTimer::Scope timed(comm);
  HACK_MPI(MPI_Reduce_scatter_block(x, mine, static_cast<int>(n), MPI_FLOAT, MPI_SUM, comm.native()));
}

void gather(const Communicator& comm, const float* mine, index_t n, float* all) {
  const Deadline::Wait wait("MPI_Allgather");
  const CollectiveTimer::Scope timed(comm);
  const int count = static_cast<int>(n);
  HACK_MPI(MPI_Allgather(mine, count, MPI_FLOAT, all, count, MPI_FLOAT, comm.native()));
}

/// Where ranks share a GPU: exchange(from, to) on copies in host memory.
template <class Exchange>
void on_host(Queue<Device::cuda>& queue, const float* from, index_t from_size, float* to, index_t to_size,
             const Exchange& exchange) {
  queue.wait();
  std::vector<float> in(static_cast<std::size_t>(from_size)), out(static_cast<std::size_t>(to_size));
  kernels::copy_to_host<Device::cuda>(in.data(), from, in.size() * sizeof(float));
  exchange(in.data(), out.data());
  kernels::copy_from_host<Device::cuda>(to, out.data(), out.size() * sizeof(float));
}

}  // namespace

template <>
void reduce_scatter_sum<Device::cpu>(const Communicator& comm, Queue<Device::cpu>&, MatrixView<const float> x,
                                     MatrixView<float> mine) {
  reduce_scatter(comm, x.data, numbers_of<Device::cpu>(comm, mine, x), mine.data);
}

template <>
void all_gather_rows<Device::cpu>(const Communicator& comm, Queue<Device::cpu>&, MatrixView<const float> mine,
                                  MatrixView<float> all) {
  gather(comm, mine.data, numbers_of<Device::cpu>(comm, mine, all), all.data);
}

template <>
void reduce_scatter_sum<Device::cuda>(const Communicator& comm, Queue<Device::cuda>& queue,
                                      MatrixView<const float, Device::cuda> x, MatrixView<float, Device::cuda> mine) {
  const index_t n = numbers_of<Device::cuda>(comm, mine, x);
  if (n == 0) return;
  if (GpuCollectives* gpu = comm.gpu()) {
    queue.resources().observe(gpu);
    gpu->reduce_scatter_sum(queue.resources().stream(), x.data, n, mine.data);
    return;
  }
  on_host(queue, x.data, n * comm.size(), mine.data, n,
          [&](const float* from, float* to) { reduce_scatter(comm, from, n, to); });
}

template <>
void all_gather_rows<Device::cuda>(const Communicator& comm, Queue<Device::cuda>& queue,
                                   MatrixView<const float, Device::cuda> mine, MatrixView<float, Device::cuda> all) {
  const index_t n = numbers_of<Device::cuda>(comm, mine, all);
  if (n == 0) return;
  if (GpuCollectives* gpu = comm.gpu()) {
    queue.resources().observe(gpu);
    gpu->all_gather(queue.resources().stream(), mine.data, n, all.data);
    return;
  }
  on_host(queue, mine.data, n, all.data, n * comm.size(),
          [&](const float* from, float* to) { gather(comm, from, n, to); });
}

}  // namespace hack::comm
