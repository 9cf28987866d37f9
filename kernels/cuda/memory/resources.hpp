#pragma once

#include <array>
#include <memory>

#include "kernels/cuda/codec/codecs.cuh"
#include "kernels/cuda/enqueue.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels::cuda {

/// What working memory is for: operations of one queue happen in order, so two uses of one purpose never meet.
enum class Workspace {
  rank_space,
  split_sums,
  attention_parts,
  logits,
  more_logits,
  sampling,
  results,
  high,
  low,
  turned,
  turned_weights,
  tiles,
  tile_space,
  tile_values,
  tile_forms,
  flags,
  first_addresses,
  second_addresses,
  third_addresses,
  library,
  count
};

/// Of the current GPU: how many blocks run at once at least.
int multiprocessors();

/// Of the current GPU: shared memory that a block can ask for.
index_t shared_bytes_of_block();

/// Hears of whoever waits for a queue: collectives in it may never end.
class WaitObserver {
 public:
  virtual ~WaitObserver() = default;
  /// Again and again while work is not done; may throw.
  virtual void on_waiting() = 0;
  virtual void on_done() = 0;
};

/// What belongs to one queue.
class Resources {
 public:
  Resources(void* stream, void* blas) : stream_(stream), blas_(blas) {}

  void* stream() const { return stream_; }  // cudaStream_t, whose header only few files see
  void* blas() const { return blas_; }      // cublasLtHandle_t

  /// Who hears of waits from now on; it outlives the queue's last wait.
  void observe(WaitObserver* observer) { observer_ = observer; }
  WaitObserver* observer() const { return observer_; }

  /// The handles of dense_library.hpp, from its first call on.
  std::shared_ptr<void>& dense_library() { return dense_library_; }

  /// How many tiles tile_svd has left to NVIDIA's libraries so far, and how many to the host.
  index_t tiles_left_to_library() const { return tiles_left_to_library_; }
  void count_tiles_left_to_library(index_t tiles) { tiles_left_to_library_ += tiles; }
  index_t tiles_left_to_host() const { return tiles_left_to_host_; }
  void count_tiles_left_to_host(index_t tiles) { tiles_left_to_host_ += tiles; }

  /// Room for n numbers. It grows to the largest size asked for and stays; contents do not survive the next call.
  template <class T>
  T* workspace(Workspace purpose, index_t n) {
    Buffer<std::byte, Device::cuda>& buffer = workspaces_[static_cast<std::size_t>(purpose)];
    const index_t bytes = n * static_cast<index_t>(sizeof(T));
    if (buffer.size() < bytes) {
      buffer = {};  // the old goes before the larger one comes
      buffer = Buffer<std::byte, Device::cuda>(bytes);
    }
    return reinterpret_cast<T*>(buffer.data());
  }

 private:
  void* stream_;
  void* blas_;
  std::shared_ptr<void> dense_library_;
  WaitObserver* observer_ = nullptr;
  index_t tiles_left_to_library_ = 0, tiles_left_to_host_ = 0;
  std::array<Buffer<std::byte, Device::cuda>, static_cast<std::size_t>(Workspace::count)> workspaces_;
};

/// Copies in the order of the queue. The host's memory may be used again at once (upload), or holds the result
/// (download, which waits for the queue).
void upload(Queue<Device::cuda>& queue, void* to, const void* host, std::size_t bytes);
void download(Queue<Device::cuda>& queue, void* host, const void* from, std::size_t bytes);

/// Fills with zero bytes, in the order of the queue.
void clear(Queue<Device::cuda>& queue, void* to, std::size_t bytes);

/// y = x wᵀ or y += x wᵀ by the vendor's library, with f32 sums; x and w of the same type, f32 rounded to bf16 on the
/// way if it `rounds`. False, and nothing done, where it has no product of this shape and alignment.
template <class T>
bool library_product(Queue<Device::cuda>& queue, Array<const T> x, Array<const T> w, Array<float> y, bool add,
                     bool rounds = false);

template <class Kernel>
void launch(Queue<Device::cuda>& queue, const Kernel& kernel) {
  enqueue(kernel, queue.resources().stream());
}

template <class T>
Array<T> array_of(MatrixView<T, Device::cuda> x) {
  return {x.data, x.rows, x.cols, x.ld};
}

template <class W>
Weights<W> weights_of(WeightView<Device::cuda> w) {
  return {static_cast<const W*>(w.data), w.rows, w.cols, w.ld, w.scales};
}

}  // namespace hack::kernels::cuda
