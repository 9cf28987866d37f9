#pragma once

#include <cstdint>
#include <memory>

#include "kernels/device.hpp"

namespace hack {

namespace kernels::cuda {
class Resources;
}

/// How tokens are multiplied with weights in codecs with scales: `fast` may round the tokens first, few of them to int8
/// and many to int16, so that codes meet codes, or many to bf16 with the weights; `exact` keeps them in f32. GPUs
/// multiply exactly whatever is asked for.
enum class Products : std::uint8_t { fast, exact };

/// Where operations run: the threads of a CPU, or the stream and library handles of a GPU. Passed explicitly to every
/// operation; operations of one queue happen in order.
template <Device D>
class Queue;

template <>
class Queue<Device::cpu> {
 public:
  /// threads >= 1: how many cores this rank has.
  explicit Queue(int threads, Products products = Products::exact) : threads_(threads), products_(products) {}
  int threads() const { return threads_; }
  Products products() const { return products_; }
  /// Returns when everything given to the queue is done.
  void wait() {}

 private:
  int threads_;
  Products products_;
};

/// A stream of the current GPU. Throws why_unavailable() in a build without CUDA.
template <>
class Queue<Device::cuda> {
 public:
  /// threads: of the host, for what is done there.
  explicit Queue(int threads, Products products = Products::exact);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  int threads() const { return threads_; }
  void wait();

  /// What operations work with: stream, handles, working memory.
  kernels::cuda::Resources& resources() const { return *resources_; }

 private:
  int threads_;
  std::unique_ptr<kernels::cuda::Resources> resources_;  // kernels/cuda/resources.hpp
};

}  // namespace hack
