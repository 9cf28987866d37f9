#pragma once

#include <functional>

#include "kernels/queue.hpp"

namespace hack::kernels {

/// Runs the same operations again and again, in less time where the device can keep them. They are the same each time:
/// same sizes, same memory (nothing else that the queue does meanwhile enlarges it), nothing copied from or to the host
/// and no waiting among them. What changes from one run to the next stands in the device's memory.
template <Device D>
class Replay;

template <>
class Replay<Device::cpu> {
 public:
  explicit Replay(bool /*may_capture*/) {}
  void run(Queue<Device::cpu>& /*queue*/, const std::function<void()>& operations) { operations(); }
  bool is_captured() const { return false; }
};

/// The first run is an ordinary one: working memory grows and libraries get ready. The second is captured as a graph,
/// which that run and all later ones launch.
template <>
class Replay<Device::cuda> {
 public:
  /// may_capture: false where operations wait or copy after all (ranks that share a GPU): every run is an ordinary one.
  explicit Replay(bool may_capture) : may_capture_(may_capture) {}
  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  void run(Queue<Device::cuda>& queue, const std::function<void()>& operations);
  bool is_captured() const { return graph_ != nullptr; }

 private:
  bool may_capture_;
  bool has_run_ = false;
  void* graph_ = nullptr;  // cudaGraphExec_t
};

}  // namespace hack::kernels
