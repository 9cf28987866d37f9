#pragma once

#include <cstdint>
#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

enum class SvdStatus : std::uint8_t {
  ok,
  not_finite,    ///< NaN or infinity in the tile, or singular values beyond the range of f32
  not_converged  ///< neither algorithm converged
};

/// Where the singular value decomposition of one tile (h, w) goes; r = min(h, w). The views are the caller's memory.
template <Device D>
struct TileSvd {
  MatrixView<float, D> u;   // (h, r) orthonormal columns
  float* sigma = nullptr;   // (r) descending, >= 0
  MatrixView<float, D> vt;  // (r, w) orthonormal rows
  SvdStatus status = SvdStatus::ok;
};

/// Computes A = U diag(sigma) Vᵀ of every tile of a batch and states how it went in `status` (views of tiles that
/// failed hold nothing of use). Tiles are scaled by a power of two to max|a| in [1, 2) on the way; a tile of zeros has
/// sigma 0 and unit vectors. Backward error and orthogonality are of the order of 1e-6 at h = w = 128.
/// A tile's bits depend on the tile alone: not on the batch, its place in it or the number of threads.
/// On the CPU: LAPACK's divide and conquer (sgesdd), QR iteration (sgesvd) where that fails, one tile per thread.
template <Device D>
void tile_svd(Queue<D>& queue, std::span<const MatrixView<const float, D>> tiles, std::span<TileSvd<D>> out);

/// Rebuilds tiles from their leading singular values, out[t] = U_k diag(sigma_k) V_kᵀ with k = ranks[t] (0 … r);
/// out[t] (h, w). Bits as above.
template <Device D>
void tile_product(Queue<D>& queue, std::span<const TileSvd<D>> tiles, std::span<const index_t> ranks,
                  std::span<const MatrixView<float, D>> out);

}  // namespace hack::kernels
