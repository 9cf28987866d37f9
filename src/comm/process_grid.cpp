#include "comm/process_grid.hpp"

#include "kernels/error.hpp"

namespace hack::comm {
namespace {

int checked_tensor_size(int ranks, int tensor_size) {
  if (tensor_size == 0) return ranks;
  validate(tensor_size > 0 && ranks % tensor_size == 0,
           "{} ranks cannot share one copy of a model where {} run (copies must be of equal size); use a divisor of {}",
           tensor_size, ranks, ranks);
  return tensor_size;
}

}  // namespace

ProcessGrid::ProcessGrid(const Communicator& world, int tensor_size)
    : tensor_(world.split(world.rank() / checked_tensor_size(world.size(), tensor_size), world.rank())),
      data_(world.split(world.rank() % checked_tensor_size(world.size(), tensor_size), world.rank())) {}

}  // namespace hack::comm
