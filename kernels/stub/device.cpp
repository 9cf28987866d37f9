// The GPU in a build without CUDA: there is none, and whoever asks for it is told why.

#include "kernels/device.hpp"

#include "kernels/buffer.hpp"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/queue.hpp"

namespace hack {

namespace {

[[noreturn]] void refuse() { throw Error(std::string(kernels::why_unavailable(Device::cuda))); }

}  // namespace

Queue<Device::cuda>::Queue(int threads, Products /*products*/) : threads_(threads) { refuse(); }
Queue<Device::cuda>::~Queue() = default;
void Queue<Device::cuda>::wait() { refuse(); }

namespace kernels {

template <>
std::string_view why_unavailable<Device::cuda>() {
  return "this program was built without CUDA code (configure with -DHACK_WITH_CUDA=ON where the CUDA Toolkit and NCCL "
         "are installed); compute on CPUs";
}

template <>
void* allocate<Device::cuda>(std::size_t) {
  refuse();
}

template <>
void deallocate<Device::cuda>(void*) noexcept {}

template <>
void copy_from_host<Device::cuda>(void*, const void*, std::size_t) {
  refuse();
}

template <>
void copy_to_host<Device::cuda>(void*, const void*, std::size_t) {
  refuse();
}

}  // namespace kernels
}  // namespace hack
