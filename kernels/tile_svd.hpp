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

/// Where the singular value decomposition of one tile (h, w) goes; r = min(h, w), and 0 <= k <= r says how many
/// singular vectors are wanted. The views are the caller's memory.
template <Device D>
struct TileSvd {
  MatrixView<float, D> u;   // (h, k) orthonormal columns
  float* sigma = nullptr;   // (r) descending, >= 0
  MatrixView<float, D> vt;  // (k, w) orthonormal rows
  SvdStatus status = SvdStatus::ok;
};

/// Computes the singular values of every tile A = U diag(sigma) Vᵀ of a batch and the k leading vectors of both sides,
/// and states how it went in `status` (views of tiles that failed hold nothing of use). Tiles are scaled by a power of
/// two to max|a| in [1, 2) on the way; a tile of zeros has sigma 0 and unit vectors. At h = w = 128 singular values are
/// off by about 1e-7 of the largest, vectors and A - U diag(sigma) Vᵀ by as much.
/// A tile's bits depend on the tile alone: not on the batch, its place in it or the number of threads. The first
/// vectors are the same whatever k (but where a check fails that only later vectors meet): any smaller k is a slice. On
/// the CPU, one tile per thread: eigenvalues and vectors of the smaller Gram matrix in double, by own code up to min(h,
/// w) = 256 and by LAPACK's steps above; LAPACK's sgesdd, all vectors whatever k, where a check fails. On GPUs, a block
/// a tile: one-sided Jacobi up to 128 × 128; what is larger, does not converge or has null directions among its k goes
/// to cuBLAS and cuSOLVER, by its Gram matrix in double, as far as these give the same bits for any batch; and what
/// fails a check there to the host's threads.
template <Device D>
void tile_svd(Queue<D>& queue, std::span<const MatrixView<const float, D>> tiles, std::span<TileSvd<D>> out);

/// What tile_spectra leaves of a batch for tile_vectors.
template <Device D>
struct ReducedTiles;

/// Gram matrices in tridiagonal form.
template <>
struct ReducedTiles<Device::cpu> {
  std::vector<Buffer<double>> forms;  // (tiles) about r² / 2 numbers each, or r² for r > 256
};

/// Of a tile that NVIDIA's libraries factorize: where eigenvalues and vectors of its Gram matrix are kept.
struct GramForm {
  std::size_t tile = 0;
  int exponent = 0;  ///< the tile is scaled by 2^-exponent
  index_t lambda = 0, vectors = 0;
};

/// The vectors themselves: one-sided Jacobi has them when it has the spectrum. Null directions have none.
template <>
struct ReducedTiles<Device::cuda> {
  Buffer<float, Device::cuda> vectors;     // tile after tile, U (h, r) and Vᵀ (r, w)
  std::vector<index_t> starts;             // (tiles) where a tile's begin
  std::vector<index_t> found;              // (tiles) how many of them there are
  std::vector<GramForm> forms;             // of tiles that were left to the libraries
  Buffer<double, Device::cuda> kept;       // what they are made of, r² + r numbers a tile
  std::vector<std::size_t> left_to_host;   // numbers of tiles
  ReducedTiles<Device::cpu> made_on_host;  // (left_to_host)
};

/// tile_svd in two steps, for those who choose k when they have seen the spectra of many tiles: sigma and status first;
/// then, of the same tiles, k vectors without another reduction. Together they give what tile_svd gives, bit by bit.
/// tile_spectra touches neither u nor vt, tile_vectors not sigma; tiles whose status is not ok, or with k = 0, it
/// skips.
template <Device D>
void tile_spectra(Queue<D>& queue, std::span<const MatrixView<const float, D>> tiles, std::span<TileSvd<D>> out,
                  ReducedTiles<D>& reduced);
template <Device D>
void tile_vectors(Queue<D>& queue, std::span<const MatrixView<const float, D>> tiles, const ReducedTiles<D>& reduced,
                  std::span<TileSvd<D>> out);

/// The same by what a vendor's library has for it, every step of it: what tile_svd is measured against. On the CPU
/// LAPACK's sgesdd, with all vectors or, where k = 0, none; on GPUs Gram matrices in double, and cuSOLVER's batched
/// eigenvectors of them (XsyevBatched).
template <Device D>
void library_svd(Queue<D>& queue, std::span<const MatrixView<const float, D>> tiles, std::span<TileSvd<D>> out);

/// What a tile (h, w) of which at most k vectors are asked takes of D's memory, beside the caller's.
struct TileSvdBytes {
  index_t reduced = 0;  ///< of a batch's ReducedTiles
  index_t scratch = 0;  ///< on each thread while it works; on GPUs for each tile of a call, without cuSOLVER's own
};
template <Device D>
TileSvdBytes tile_svd_bytes(index_t h, index_t w, index_t k);

/// Rebuilds tiles from their leading singular values, out[t] = U_k diag(sigma_k) V_kᵀ with k = ranks[t] (0 … columns of
/// u); out[t] (h, w). Bits as above. On GPUs all tiles in one launch.
template <Device D>
void tile_product(Queue<D>& queue, std::span<const TileSvd<D>> tiles, std::span<const index_t> ranks,
                  std::span<const MatrixView<float, D>> out);

}  // namespace hack::kernels
