#pragma once

#include <vector>

#include "kernels/matrix_view.hpp"
#include "svd/tile/range.hpp"
#include "svd/tile/stored_tile.hpp"

namespace hack::svd {

/// A term in numbers: U diag(sigma) Vᵀ, or the skeleton and what is made of it, as one product L R; of a dense term its
/// values.
class WideTerm {
 public:
  explicit WideTerm(const StoredTerm& term);

  bool is_dense() const { return is_dense_; }
  /// Rows of L, of which there are none at rank 0, or of the values.
  MatrixView<const double> left(Range rows) const { return {left_.data() + rows.begin * k_, rows.size(), k_}; }
  MatrixView<const double> right() const { return {right_.data(), k_, width_}; }
  MatrixView<const double> values(Range rows) const { return left(rows); }
  index_t rank() const { return k_; }

 private:
  bool is_dense_;
  index_t width_;
  index_t k_;                  // of a dense term its columns
  std::vector<double> left_;   // (h, k)
  std::vector<double> right_;  // (k, w)
};

}  // namespace hack::svd
