#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/gradient.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "svd/tile/range.hpp"
#include "svd/choose/rank_policy.hpp"
#include "svd/tile/tile_grid.hpp"
#include "svd/fit/weighted_factorizer.hpp"

namespace hack::svd {

/// All tiles of a matrix (m, n) as WeightedFactorizer returns them, in the caller's memory.
struct FactoredTiles {
  std::string_view name;  ///< of the matrix, for errors
  TileGrid grid;
  std::span<const TileChoice> choices;   // (tiles)
  std::span<const TruncatedTile> tiles;  // (tiles) empty where a tile keeps its original values or is of rank 0
  MatrixView<const float> values;        // (m, n) the original values; only read where a tile keeps them
};

/// A matrix whose tiles are trained on D as products of two factors.
///
/// A tile U diag(σ) Vᵀ becomes L R with L = U diag(√σ), R = diag(√σ) Vᵀ: balanced, so that one rate suits both factors.
/// The parameters are these numbers, tile after tile, L (h, k) before R (k, w), in an array of the owner's, so that one
/// collective and one step of Adam take the parameters of all matrices.
///
/// Dense tiles of full rank keep their original values and are not trained: they have no error of their own, and an
/// archive stores the original values. Tiles of rank 0 stay zero.
///
/// Products with tokens take the dense matrix that rebuild() makes of the factors: at the ranks that interpolative
/// storage allows (2k(h + w) > 2hw) the dense matrix costs fewer flops than the factors, and large products run faster
/// than many small ones.
template <Device D>
class RefinableMatrix {
 public:
  /// The number of parameters.
  static index_t count_parameters(const FactoredTiles& source);

  /// Splits the tiles into `parameters`; both arrays, in memory of D, hold count_parameters(source) numbers and outlive
  /// this.
  RefinableMatrix(const FactoredTiles& source, float* parameters, float* gradients);

  /// m
  index_t rows() const { return grid_.rows(); }
  /// n
  index_t cols() const { return grid_.cols(); }

  /// The matrix as of the last rebuild().
  MatrixView<const float, D> weights() const { return {weights_.data(), rows(), cols()}; }

  /// Makes the dense matrix of the parameters.
  void rebuild(Queue<D>& queue);

  /// Writes the gradients of the parameters, dL = dW Rᵀ and dR = Lᵀ dW; dw (m, n).
  void differentiate(Queue<D>& queue, MatrixView<const float, D> dw);

  /// Returns tiles begin … end - 1 as of the last rebuild(): the SVD of L R, truncated to the rank of the source tile;
  /// no factors for tiles that are not trained. On the host. An Error names matrix and tile where values are not
  /// finite.
  std::vector<TruncatedTile> factors(Queue<D>& queue, Range tiles) const;

 private:
  std::vector<TruncatedTile> factorize(Queue<Device::cpu>& queue, MatrixView<const float> weights,
                                       std::span<const index_t> numbers) const;

  std::string_view name_;
  TileGrid grid_;
  std::vector<index_t> ranks_;                 // (tiles) 0 of tiles that are not trained
  std::vector<kernels::FactorTile<D>> tiles_;  // (trained tiles)
  Buffer<float, D> weights_;                   // (m, n)
};

}  // namespace hack::svd
