#include "kernels/replay.hpp"

#include "kernels/cuda/memory/error.hpp"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels {

namespace {

cudaGraphExec_t capture(cudaStream_t stream, const std::function<void()>& operations) {
  cudaGraph_t graph = nullptr;
  // Other threads of this process may allocate meanwhile.
  HACK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  try {
    operations();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);  // the stream must not stay in capture
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  HACK_CUDA(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t instance = nullptr;
  const cudaError_t code = cudaGraphInstantiate(&instance, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(code, "cudaGraphInstantiate");
  return instance;
}

}  // namespace

Replay<Device::cuda>::~Replay() {
  if (graph_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph_));
}

void Replay<Device::cuda>::run(Queue<Device::cuda>& queue, const std::function<void()>& operations) {
  if (!may_capture_ || !has_run_) {
    operations();
    has_run_ = true;
    return;
  }
  const auto stream = static_cast<cudaStream_t>(queue.resources().stream());
  if (graph_ == nullptr) graph_ = capture(stream, operations);
  HACK_CUDA(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph_), stream));
}

}  // namespace hack::kernels
