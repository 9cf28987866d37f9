#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// Vectors that JacobiSvd has found of a tile, and the place of the leading k.
struct KeptVectors {
  Array<const float> u;   // (h, r)
  Array<const float> vt;  // (r, w)
  Array<float> u_to;      // (h, k)
  Array<float> vt_to;     // (k, w)
};

/// Copies the leading vectors: a block of threads per tile.
struct CopyVectors {
  static constexpr const char* name = "CopyVectors";
  static constexpr int max_threads = 256;
  const KeptVectors* tiles = nullptr;
  index_t count = 0;

  Geometry geometry() const { return {count, max_threads, 0}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const KeptVectors tile = tiles[exec.block()];
    copy(exec, tile.u, tile.u_to);
    copy(exec, tile.vt, tile.vt_to);
  }

 private:
  template <class Exec>
  HACK_BODY void copy(Exec& exec, const Array<const float>& from, const Array<float>& to) const {
    const int cols = static_cast<int>(to.cols), last = static_cast<int>(to.rows) * cols;
    for (int n = exec.thread(); n < last; n += max_threads) to.row(n / cols)[n % cols] = from.row(n / cols)[n % cols];
  }
};

}  // namespace hack::kernels::cuda

#define HACK_KEPT_VECTORS_KERNELS(X) X(CopyVectors)
