// The GPU of these tests: memory of the host between margins, kernels run by the emulator, products by plain loops.
// It and dense_library.cpp take the place of kernels/cuda/{device,memory,queue,blas,dense_library}.cpp; all other
// operations are the GPU's own.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include <fmt/core.h>

#include "kernels/copy.hpp"
#include "kernels/cuda/kernel_list.cuh"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/replay.hpp"
#include "tests/gpu/device_data.hpp"
#include "tests/simt/emulator.hpp"

namespace hack {

namespace {

constexpr std::size_t margin = 64;
constexpr int fill = 0xff;  // not a number in any type: what is read outside, or before it is written, shows

std::map<std::byte*, std::size_t>& allocations() {
  static std::map<std::byte*, std::size_t> all;
  return all;
}

std::size_t allocated = 0;  // bytes

/// Whether nothing was written around an allocation.
bool is_untouched(const std::byte* data, std::size_t bytes) {
  const auto same = [](const std::byte* from, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      if (from[i] != std::byte{fill}) return false;
    }
    return true;
  };
  return same(data - margin, margin) && same(data + bytes, (16 - bytes % 16) % 16 + margin);
}

/// What a queue has been given since a capture began, to be run when the graph is launched.
using Graph = std::vector<std::function<void()>>;
Graph* capture = nullptr;

/// Does a piece of work, or puts it into the graph that is being captured.
template <class Work>
void give(Work work) {
  if (capture != nullptr) {
    capture->push_back(std::move(work));
  } else {
    work();
  }
}

/// What a stream in capture refuses.
void expect_no_capture(const char* what) {
  if (capture != nullptr) throw simt::Fault(fmt::format("{} in a graph", what));
}

}  // namespace

Queue<Device::cuda>::Queue(int threads, Products /*products*/)
    : threads_(threads), resources_(std::make_unique<kernels::cuda::Resources>(nullptr, nullptr)) {}
Queue<Device::cuda>::~Queue() = default;
void Queue<Device::cuda>::wait() { expect_no_capture("waiting"); }

namespace kernels {

template <>
std::string_view why_unavailable<Device::cuda>() {
  return {};
}

template <>
void* allocate<Device::cuda>(std::size_t bytes) {
  expect_no_capture("an allocation");
  const std::size_t rounded = (bytes + 15) / 16 * 16;
  auto* start = static_cast<std::byte*>(std::aligned_alloc(64, (rounded + 2 * margin + 63) / 64 * 64));
  std::memset(start, fill, rounded + 2 * margin);
  allocations()[start + margin] = bytes;
  allocated += bytes;
  simt::peak_bytes = std::max(simt::peak_bytes, allocated);
  return start + margin;
}

template <>
void deallocate<Device::cuda>(void* data) noexcept {
  const auto allocation = allocations().find(static_cast<std::byte*>(data));
  allocated -= allocation->second;
  allocations().erase(allocation);
  std::free(static_cast<std::byte*>(data) - margin);
}

template <>
void copy_from_host<Device::cuda>(void* to, const void* host, std::size_t bytes) {
  std::memcpy(to, host, bytes);
}

template <>
void copy_to_host<Device::cuda>(void* host, const void* from, std::size_t bytes) {
  std::memcpy(host, from, bytes);
}

template <>
void copy_rows<Device::cuda>(Queue<Device::cuda>&, void* to, std::size_t to_pitch, const void* from,
                             std::size_t from_pitch, std::size_t bytes, index_t rows) {
  give([=] {
    for (index_t i = 0; i < rows; ++i) {
      const auto row = static_cast<std::size_t>(i);
      std::memcpy(static_cast<std::byte*>(to) + row * to_pitch, static_cast<const std::byte*>(from) + row * from_pitch,
                  bytes);
    }
  });
}

namespace cuda {

/// So few that small matrices fill it, and that smaller ones do not.
int multiprocessors() { return 20; }

index_t shared_bytes_of_block() { return simt::shared_bytes; }

void upload(Queue<Device::cuda>&, void* to, const void* host, std::size_t bytes) {
  expect_no_capture("a copy from the host");
  std::memcpy(to, host, bytes);
}

void download(Queue<Device::cuda>&, void* host, const void* from, std::size_t bytes) {
  expect_no_capture("a copy to the host");
  std::memcpy(host, from, bytes);
}

void clear(Queue<Device::cuda>&, void* to, std::size_t bytes) {
  give([to, bytes] { std::memset(to, 0, bytes); });
}

/// Has no products of odd shapes, so that those who ask for them need their own.
template <class T>
bool library_product(Queue<Device::cuda>&, Array<const T> x, Array<const T> w, Array<float> y, bool add, bool rounds) {
  if (w.ld % 2 != 0) return false;
  expect_no_capture("a product of this library");
  const auto number = [&](T value) {
    const float wide = to_float(value);
    return rounds ? to_float(to_bf16(wide)) : wide;
  };
  for (index_t t = 0; t < y.rows; ++t) {
    for (index_t i = 0; i < y.cols; ++i) {
      float sum = add ? y.row(t)[i] : 0.0f;
      for (index_t j = 0; j < x.cols; ++j) sum += number(x.row(t)[j]) * number(w.row(i)[j]);
      y.row(t)[i] = sum;
    }
  }
  return true;
}

template bool library_product(Queue<Device::cuda>&, Array<const float>, Array<const float>, Array<float>, bool, bool);
template bool library_product(Queue<Device::cuda>&, Array<const bf16>, Array<const bf16>, Array<float>, bool, bool);
template bool library_product(Queue<Device::cuda>&, Array<const f16>, Array<const f16>, Array<float>, bool, bool);

/// As the kernel stands in the list.
template <class Kernel>
const char* label = nullptr;
#define HACK_LABEL(...) \
  template <>           \
  const char* label<__VA_ARGS__> = #__VA_ARGS__;
HACK_ALL_KERNELS(HACK_LABEL)

template <class Kernel>
void enqueue(const Kernel& kernel, void*) {
  give([kernel] {
    simt::launch(kernel);
    simt::kernels_run().insert(label<Kernel>);
    for (const auto& [data, bytes] : allocations()) {
      if (!is_untouched(data, bytes)) {
        throw simt::Fault(fmt::format("{}: wrote outside a buffer of {} bytes", Kernel::name, bytes));
      }
    }
  });
}

#define HACK_EMULATE(...) template void enqueue(const __VA_ARGS__&, void*);
HACK_ALL_KERNELS(HACK_EMULATE)

}  // namespace cuda

Replay<Device::cuda>::~Replay() { delete static_cast<Graph*>(graph_); }

void Replay<Device::cuda>::run(Queue<Device::cuda>&, const std::function<void()>& operations) {
  if (!may_capture_ || !has_run_) {
    operations();
    has_run_ = true;
    return;
  }
  if (graph_ == nullptr) {
    auto graph = std::make_unique<Graph>();
    capture = graph.get();
    try {
      operations();
    } catch (...) {
      capture = nullptr;
      throw;
    }
    capture = nullptr;
    graph_ = graph.release();
  }
  for (const auto& work : *static_cast<Graph*>(graph_)) work();
}

}  // namespace kernels

namespace tests {

void set_thread_order(unsigned seed) { simt::order_seed = seed; }

}  // namespace tests
}  // namespace hack
