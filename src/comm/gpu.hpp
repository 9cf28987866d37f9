#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace hack::comm {

/// Which GPU a rank uses.
struct GpuChoice {
  std::string name;        ///< of the GPU
  std::string address;     ///< on the PCI bus of its node
  std::string libraries;   ///< versions of CUDA and NCCL
  bool is_shared = false;  ///< some ranks of the run share one: their collectives go through host memory
};

/// Makes one GPU the current one of this rank, by its place among the ranks of its node: one GPU each where there are
/// enough, else in turn. Collective; an Error where there is none.
GpuChoice choose_gpu(const Communicator& world);

/// Names of GPUs, node and unique identifier, in the order of the ranks: whether two ranks have the same.
bool any_shared(const std::vector<std::string>& gpus);

}  // namespace hack::comm
