#include "comm/residual_norm.hpp"

#include "comm/collectives.hpp"
#include "comm/gpu_collectives.hpp"
#include "kernels/elementwise.hpp"

namespace hack::comm {
namespace {

template <Device D>
void in_steps(const Communicator& comm, Queue<D>& queue, const ResidualNorm<D>& work) {
  add_all_reduced<D>(comm, queue, work.y, work.x);
  kernels::rms_norm<D>(queue, work.x, work.weight, work.epsilon, work.normed);
}

}  // namespace

template <>
void add_reduced_and_norm<Device::cpu>(const Communicator& comm, Queue<Device::cpu>& queue,
                                       const ResidualNorm<Device::cpu>& work) {
  in_steps(comm, queue, work);
}

template <>
void add_reduced_and_norm<Device::cuda>(const Communicator& comm, Queue<Device::cuda>& queue,
                                        const ResidualNorm<Device::cuda>& work) {
  if (comm.size() > 1) {
    if (GpuCollectives* gpu = comm.gpu()) {
      queue.resources().observe(gpu);
      if (gpu->add_reduced_and_norm(queue.resources().stream(), work)) return;
    }
  }
  in_steps(comm, queue, work);
}

}  // namespace hack::comm
