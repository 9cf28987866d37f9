#include "comm/residual_norm.hpp"

#include "comm/collectives.hpp"
#include "comm/gpu_collectives.hpp"
#include "kernels/elementwise.hpp"

namespace hack::comm {

template <>
void add_reduced_and_norm<Device::cpu>(const Communicator& comm, Queue<Device::cpu>& queue,
                                       const ResidualNorm<Device::cpu>& work) {
  add_all_reduced<Device::cpu>(comm, queue, work.y, work.x);
  kernels::rms_norm<Device::cpu>(queue, work.x, work.weight, work.epsilon, work.normed);
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
  all_reduce_sum<Device::cuda>(comm, queue, work.y);
  kernels::add_and_norm<Device::cuda>(queue, work.y, work.x, work.weight, work.epsilon, work.normed);
}

}  // namespace hack::comm
