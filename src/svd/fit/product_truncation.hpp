#pragma once

#include <vector>

#include "kernels/batched_algebra.hpp"
#include "kernels/buffer.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/fit/weighted_factorizer.hpp"
#include "svd/fit/weighted_tile_rows.hpp"

namespace hack::svd {

/// Brings tiles L R with orthonormal rows of R into the form U diag(sigma) Vᵀ, in batches on D: with the SVD
/// L = U diag(sigma) B, Vᵀ is B R.
template <Device D>
class ProductTruncation {
 public:
  /// The tiles of rows begin … end - 1.
  ProductTruncation(WeightedTileRows<D>& rows, index_t begin, index_t end);

  /// Factorizes; returns the outcome of each tile that has factors. numbers() are the places of these tiles, counted
  /// over all rows.
  std::vector<kernels::SvdStatus> run(Queue<D>& queue);
  const std::vector<index_t>& numbers() const { return numbers_; }

  /// Appends all tiles of these rows, on the host; tiles without factors are of rank 0.
  void take(Queue<D>& queue, std::vector<TruncatedTile>& tiles) const;

 private:
  struct Shape {
    index_t h, k, w;
  };

  void place(WeightedTileRows<D>& rows, index_t r, index_t j);

  std::vector<Shape> shapes_;                             // of all tiles
  std::vector<index_t> numbers_;                          // of the tiles with factors
  index_t left_ = 0, right_ = 0, rank_ = 0, square_ = 0;  // where the next tile's numbers begin
  Buffer<float, D> lefts_;                                // Σ h k
  Buffer<float, D> u_;                                    // Σ h k
  Buffer<float, D> sigma_;                                // Σ k
  Buffer<float, D> rotations_;                            // Σ k² B
  Buffer<double, D> wide_;                                // Σ k² B
  Buffer<double, D> products_;                            // Σ k w B R
  Buffer<float, D> vt_;                                   // Σ k w
  std::vector<kernels::Block<double, float, D>> narrowed_, rounded_;
  std::vector<kernels::Block<float, double, D>> widened_;
  std::vector<kernels::Product<D>> rights_;
  std::vector<MatrixView<const float, D>> in_;
  std::vector<kernels::TileSvd<D>> out_;
};

}  // namespace hack::svd
