#pragma once

#include <span>
#include <vector>

#include "kernels/tile_svd.hpp"

namespace hack::kernels::cuda {

// SVDs of tiles of any shape by what NVIDIA's libraries have: in double, X = A, or Aᵀ where h < w, of shape (depth, n),
// scaled by a power of two; XᵀX by cuBLAS, its eigenvalues and vectors Z by cuSOLVER; X Z, panel by panel of fixed
// width, whose columns are sigma times the other side's vectors. Small ones are made orthogonal afterwards, nulls
// filled up: kernels/cpu/gram_svd.hpp. The first vectors do not depend on how many are asked for. Bytes in the device's
// memory, beside A and the result:
//
//     kept between the steps   8 (n² + n)
//     both steps               8 h w of X, of all tiles of a shape up to 2^26 numbers
//     find_gram_spectra()      cuSOLVER's own
//     find_gram_vectors()      8 · 128 depth of each of them

using TilesToFactorize = std::span<const MatrixView<const float, Device::cuda>>;
using FactorizedTiles = std::span<TileSvd<Device::cuda>>;
using TileIndices = std::vector<std::size_t>;

/// Numbers that are kept of the tiles with these numbers.
index_t gram_kept_size(TilesToFactorize tiles, const TileIndices& numbers);

/// Bytes of both steps for one tile, as above, but for cuSOLVER's own.
index_t gram_scratch_bytes(index_t h, index_t w, index_t k);

struct GramSpectraFound {
  std::vector<GramForm> forms;  ///< of the tiles whose spectra are known
  TileIndices failed;           ///< that did not converge
};

/// Finds the spectra of some of the tiles, where `sigma` is not null, and states which of the tiles are not finite;
/// leaves in `kept` (device memory) what find_gram_vectors() takes. Waits for the queue.
GramSpectraFound find_gram_spectra(Queue<Device::cuda>& queue, TilesToFactorize tiles, FactorizedTiles out,
                                   const TileIndices& numbers, double* kept);

/// Finds as many vectors as `out` asks for; returns the numbers of tiles that fail a check. Waits for the queue.
TileIndices find_gram_vectors(Queue<Device::cuda>& queue, TilesToFactorize tiles, FactorizedTiles out,
                              std::span<const GramForm> forms, const double* kept);

}  // namespace hack::kernels::cuda
