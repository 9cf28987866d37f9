#pragma once

#include <memory>
#include <vector>

#include "kernels/tile_svd.hpp"

namespace hack::tests {

/// What NVIDIA's libraries have for many small SVDs, as a twin of tile_svd: Gram matrices of all tiles by one batched
/// product, their eigenvalues and vectors by cusolverDnXsyevBatched, both in f32. So singular values below 3e-4 of the
/// first are lost. Tiles (h, w) of one shape, h >= w, that lie one after the other; sigma (tiles, w) ascending, vectors
/// (tiles, w, w) of the right side, vector after vector.
class LibrarySvd {
 public:
  LibrarySvd(Queue<Device::cuda>& queue, index_t tiles, index_t h, index_t w);
  ~LibrarySvd();
  LibrarySvd(const LibrarySvd&) = delete;
  LibrarySvd& operator=(const LibrarySvd&) = delete;

  /// Returns when it is done. Squares of the singular values stay in squares(), vectors in vectors().
  void factorize(const float* tiles);
  const Buffer<float, Device::cuda>& squares() const { return squares_; }
  const Buffer<float, Device::cuda>& vectors() const { return vectors_; }

 private:
  struct Handles;
  Queue<Device::cuda>& queue_;
  index_t tiles_, h_, w_;
  Buffer<float, Device::cuda> squares_;  // (tiles, w)
  Buffer<float, Device::cuda> vectors_;  // (tiles, w, w) Gram matrices, then vectors
  Buffer<int, Device::cuda> info_;       // (tiles)
  Buffer<std::byte, Device::cuda> work_;
  std::vector<std::byte> host_work_;
  std::unique_ptr<Handles> handles_;
};

}  // namespace hack::tests
