#pragma once

#include "kernels/device.hpp"

namespace hack {

/// Where operations run: the threads of a CPU, or the stream and library handles of a GPU. Passed explicitly to every
/// operation; operations of one queue happen in order.
template <Device D>
class Queue;

template <>
class Queue<Device::cpu> {
 public:
  /// threads >= 1: how many cores this rank has.
  explicit Queue(int threads) : threads_(threads) {}
  int threads() const { return threads_; }
  /// Returns when everything given to the queue is done.
  void wait() {}

 private:
  int threads_;
};

/// A stream of the current GPU. Throws why_unavailable() in a build without CUDA.
template <>
class Queue<Device::cuda> {
 public:
  /// threads: of the host, for what is staged there.
  explicit Queue(int threads);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  void wait();

 private:
  void* stream_ = nullptr;  // cudaStream_t, whose header only kernels/cuda sees
};

}  // namespace hack
