#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/gradient.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "svd/choose/rank_policy.hpp"
#include "svd/fit/weighted_factorizer.hpp"
#include "svd/refine/refinable_matrix.hpp"
#include "svd/tile/range.hpp"
#include "svd/tile/tile_grid.hpp"

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
/// The parameters are these numbers, tile after tile, L (h, k) before R (k, w).
///
/// Dense tiles of full rank keep their original values and are not trained: they have no error of their own, and an
/// archive stores the original values. Tiles of rank 0 stay zero.
///
/// Products with tokens take the dense matrix that rebuild() makes of the factors: at the ranks that interpolative
/// storage allows (2k(h + w) > 2hw) the dense matrix costs fewer flops than the factors, and large products run faster
/// than many small ones.
template <Device D>
class RefinableFactors : public RefinableMatrix<D> {
 public:
  /// Splits the tiles, which are not needed afterwards; the name outlives this.
  explicit RefinableFactors(const FactoredTiles& source);

  index_t rows() const override { return grid_.rows(); }
  index_t cols() const override { return grid_.cols(); }
  index_t count() const override { return count_; }
  void place(float* parameters, float* gradients) override;
  MatrixView<const float, D> weights() const override { return {weights_.data(), rows(), cols()}; }
  void rebuild(Queue<D>& queue) override;
  /// dL = dW Rᵀ and dR = Lᵀ dW.
  void differentiate(Queue<D>& queue, MatrixView<const float, D> dw) override;

  /// Returns tiles begin … end - 1 as of the last rebuild(): the SVD of L R, truncated to the rank of the source tile;
  /// no factors for tiles that are not trained. On the host. An Error names matrix and tile where values are not
  /// finite.
  std::vector<TruncatedTile> factors(Queue<D>& queue, Range tiles) const;

 private:
  std::vector<TruncatedTile> factorize(Queue<Device::cpu>& queue, MatrixView<const float> weights,
                                       std::span<const index_t> numbers) const;

  std::string_view name_;
  TileGrid grid_;
  index_t count_;
  Buffer<float> start_;                        // (count) the parameters before any step, until they are placed
  std::vector<index_t> ranks_;                 // (tiles) 0 of tiles that are not trained
  std::vector<kernels::FactorTile<D>> tiles_;  // (trained tiles)
  Buffer<float, D> weights_;                   // (m, n)
};

}  // namespace hack::svd
