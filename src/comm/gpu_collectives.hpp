#pragma once

#include <cstdint>
#include <memory>

#include "comm/residual_norm.hpp"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::comm {

class Communicator;

/// Collectives of a group of ranks on numbers in GPU memory, in the order of streams (cudaStream_t). All ranks call
/// every function together and in the same order.
class GpuCollectives : public kernels::cuda::WaitObserver {
 public:
  /// Sums x[0 … n) over the ranks, in place.
  virtual void all_reduce_sum(void* stream, float* x, std::int64_t n) = 0;
  /// add_reduced_and_norm() through memory that the ranks have mapped of each other; false, and nothing done, where
  /// they have not, or where the rows are too many or too long.
  virtual bool add_reduced_and_norm(void* stream, const ResidualNorm<Device::cuda>& work) = 0;
};

/// Those of NCCL; null in a build without CUDA, and where ranks share a GPU, which NCCL refuses. Collective.
std::shared_ptr<GpuCollectives> make_gpu_collectives(const Communicator& comm);

}  // namespace hack::comm
