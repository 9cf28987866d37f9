#pragma once

#include <span>
#include <vector>

#include "kernels/tile_svd.hpp"

namespace hack::kernels::cuda {

// SVDs of tiles of any shape by NVIDIA's libraries, in double: X = A, or Aᵀ where h < w, of shape (depth, n), scaled by
// a power of two. cuBLAS makes XᵀX, cuSOLVER its eigenvalues and eigenvectors Z; the columns of X Z, made in panels of
// fixed width, are the singular vectors of the larger side, times sigma. Small columns are orthogonalized afterwards
// and null columns filled up, for the reasons given in kernels/cpu/factorize/gram_svd.hpp. The first vectors do not
// depend on the number of vectors. Bytes in the device's memory, beside A and the result:
//
//     kept between the steps   8 (n² + n)
//     both steps               8 h w of X, of all tiles of a shape up to 2^26 numbers
//     find_gram_spectra()      cuSOLVER's own
//     find_gram_vectors()      8 · 128 depth of each tile of a batch

using TilesToFactorize = std::span<const MatrixView<const float, Device::cuda>>;
using FactorizedTiles = std::span<TileSvd<Device::cuda>>;
using TileIndices = std::vector<std::size_t>;

/// How many numbers are kept of the tiles with these indices.
index_t gram_kept_size(TilesToFactorize tiles, const TileIndices& numbers);

/// Bytes of both steps for one tile, by the table above without cuSOLVER's own.
index_t gram_scratch_bytes(index_t h, index_t w, index_t k);

struct GramSpectraFound {
  std::vector<GramForm> forms;  ///< of the tiles whose spectra are known
  TileIndices failed;           ///< tiles whose iteration did not converge
};

/// Finds the spectra of some of the tiles, writes them where `sigma` is not null, and states which tiles are not
/// finite; leaves eigenvalues and eigenvectors in `kept` (device memory) for find_gram_vectors(). Waits for the queue.
GramSpectraFound find_gram_spectra(Queue<Device::cuda>& queue, TilesToFactorize tiles, FactorizedTiles out,
                                   const TileIndices& numbers, double* kept);

/// Finds the vectors that `out` has memory for; returns the indices of tiles that fail a check. Waits for the queue.
TileIndices find_gram_vectors(Queue<Device::cuda>& queue, TilesToFactorize tiles, FactorizedTiles out,
                              std::span<const GramForm> forms, const double* kept);

}  // namespace hack::kernels::cuda
