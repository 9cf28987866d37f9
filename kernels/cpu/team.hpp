#pragma once

#include "kernels/queue.hpp"
#include "kernels/dtype.hpp"

namespace hack::kernels {

/// Threads for an operation that touches `bytes`: all of the queue's or, where waking them costs more than the work,
/// one. Never some of them: libgomp ends the threads that a smaller team leaves out and starts them again later.
inline int team_size(const Queue<Device::cpu>& queue, index_t bytes) {
  constexpr index_t worth_waking = 32 * 1024;  // 3 us of one core's memory bandwidth, about a parallel region
  return bytes < worth_waking ? 1 : queue.threads();
}

}  // namespace hack::kernels
