#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

enum class SvdStatus : std::uint8_t {
  ok,
  not_finite,    ///< NaN or infinity in the tile, or singular values beyond the range of f32
  not_converged  ///< no algorithm converged
};

/// The place of the singular value decomposition of one tile (h, w): r = min(h, w), and 0 <= k <= r is the number of
/// singular vectors that are wanted. The views are the caller's memory.
template <Device D>
struct TileSvd {
  MatrixView<float, D> u;   // (h, k) orthonormal columns
  float* sigma = nullptr;   // (r) descending, >= 0
  MatrixView<float, D> vt;  // (k, w) orthonormal rows
  SvdStatus status = SvdStatus::ok;
};

/// Computes the singular values of every tile A = U diag(sigma) Vᵀ of a batch and the k leading vectors of both sides,
/// and states the outcome in `status` (views of tiles that failed hold nothing of use). Tiles are scaled by a power of
/// two to max|a| in [1, 2) on the way; a tile of zeros has sigma 0 and unit vectors. At h = w = 128 the errors of
/// singular values, vectors and A - U diag(sigma) Vᵀ are about 1e-7 of the largest singular value.
///
/// The bits of a tile depend on the tile alone: not on the batch, its place in the batch or the number of threads. The
/// first vectors are the same whatever k, so that any smaller k is a slice (except where a check fails that only later
/// vectors meet).
///
/// On the CPU, one tile per thread: eigenvalues and eigenvectors of the smaller Gram matrix in double, by own code up
/// to min(h, w) = 256 (GramSvd) and by LAPACK's steps above 256 (WholeSvd); where a check fails, LAPACK's sgesdd with
/// all vectors whatever k. On GPUs, one block per tile: one-sided Jacobi up to 128 × 128 (JacobiSvd). Tiles that are
/// larger, do not converge or have null directions among their k go to cuBLAS and cuSOLVER, by their Gram matrices in
/// double, as far as the libraries give the same bits for any batch; tiles that fail a check there go to the host's
/// threads.
template <Device D>
void tile_svd(Queue<D>& queue, std::span<const MatrixView<const float, D>> tiles, std::span<TileSvd<D>> out);

/// What tile_spectra keeps of a batch for tile_vectors.
template <Device D>
struct ReducedTiles;

/// Gram matrices in tridiagonal form.
template <>
struct ReducedTiles<Device::cpu> {
  std::vector<Buffer<double>> forms;  // (tiles) about r² / 2 numbers each, or r² for r > 256
};

/// A tile that NVIDIA's libraries factorize, and the places of the eigenvalues and eigenvectors of its Gram matrix.
struct GramForm {
  std::size_t tile = 0;
  int exponent = 0;  ///< the tile is scaled by 2^-exponent
  index_t lambda = 0, vectors = 0;
};

/// The vectors themselves: one-sided Jacobi has the vectors when it has the spectrum. Null directions have no vectors.
template <>
struct ReducedTiles<Device::cuda> {
  Buffer<float, Device::cuda> vectors;     // tile after tile, U (h, r) and Vᵀ (r, w)
  std::vector<index_t> starts;             // (tiles) where the vectors of a tile begin
  std::vector<index_t> found;              // (tiles) the number of vectors of a tile
  std::vector<GramForm> forms;             // of tiles that were left to the libraries
  Buffer<double, Device::cuda> kept;       // eigenvalues and eigenvectors of these forms, r² + r numbers a tile
  std::vector<std::size_t> left_to_host;   // numbers of tiles
  ReducedTiles<Device::cpu> made_on_host;  // (left_to_host)
};

/// tile_svd in two steps, for callers that choose k after the spectra of many tiles are known: tile_spectra finds sigma
/// and status; tile_vectors finds k vectors of the same tiles without another reduction. Together the two give the bits
/// that tile_svd gives. tile_spectra touches neither u nor vt. tile_vectors does not touch sigma, and skips tiles whose
/// status is not ok or with k = 0.
template <Device D>
void tile_spectra(Queue<D>& queue, std::span<const MatrixView<const float, D>> tiles, std::span<TileSvd<D>> out,
                  ReducedTiles<D>& reduced);
template <Device D>
void tile_vectors(Queue<D>& queue, std::span<const MatrixView<const float, D>> tiles, const ReducedTiles<D>& reduced,
                  std::span<TileSvd<D>> out);

/// tile_svd by a vendor's library alone, the baseline that tile_svd is measured against. On the CPU LAPACK's sgesdd,
/// with all vectors or, where k = 0, none; on GPUs Gram matrices in double and cuSOLVER's batched eigenvectors of the
/// Gram matrices (XsyevBatched).
template <Device D>
void library_svd(Queue<D>& queue, std::span<const MatrixView<const float, D>> tiles, std::span<TileSvd<D>> out);

/// Bytes of D's memory, beside the caller's, for a tile (h, w) of which at most k vectors are wanted.
struct TileSvdBytes {
  index_t reduced = 0;  ///< of a batch's ReducedTiles
  index_t scratch = 0;  ///< on each thread while it works; on GPUs for each tile of a call, without cuSOLVER's own
};
template <Device D>
TileSvdBytes tile_svd_bytes(index_t h, index_t w, index_t k);

/// Rebuilds tiles from their leading singular values, out[t] = U_k diag(sigma_k) V_kᵀ with k = ranks[t] (0 … columns of
/// u); out[t] (h, w). The bits of a tile depend on the tile and k alone. On GPUs all tiles in one launch.
template <Device D>
void tile_product(Queue<D>& queue, std::span<const TileSvd<D>> tiles, std::span<const index_t> ranks,
                  std::span<const MatrixView<float, D>> out);

}  // namespace hack::kernels
