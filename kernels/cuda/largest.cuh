#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// Takes value and id from the lane whose value is largest, of equal ones that of the lowest id.
template <class Exec>
HACK_BODY void warp_largest(Exec& exec, float& value, int& id) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = exec.shuffle_xor(value, mask);
    const int other_id = exec.shuffle_xor(id, mask);
    if (other > value || (other == value && other_id < id)) {
      value = other;
      id = other_id;
    }
  }
}

/// Likewise from the block's threads. `scratch`: 64 words of shared memory, free for other use after the next barrier.
template <class Exec>
HACK_BODY void block_largest(Exec& exec, float& value, int& id, int scratch) {
  const auto values = exec.template shared<float>(scratch);
  const auto ids = exec.template shared<int>(scratch + 32);
  warp_largest(exec, value, id);
  if (exec.lane() == 0) {
    values[exec.warp()] = value;
    ids[exec.warp()] = id;
  }
  exec.sync();
  const int from = exec.lane() < exec.threads() / 32 ? exec.lane() : 0;
  value = values[from];
  id = ids[from];
  warp_largest(exec, value, id);
}

}  // namespace hack::kernels::cuda
