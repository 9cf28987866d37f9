#pragma once

#include <vector>

#include "comm/process_grid.hpp"
#include "kernels/buffer.hpp"
#include "svd/train/trained_matrix.hpp"

namespace hack::model {

/// The parameters of all trained matrices of this rank, or their gradients, as one vector on the host:
///
///     tensor rank 0   shared by several ranks | own of rank 0
///     tensor rank 1   shared by several ranks | own of rank 1
///
/// Ranks at the same place of different copies of the model have the same layout.
class ParameterVector {
 public:
  template <Device D>
  explicit ParameterVector(const std::vector<svd::TrainedMatrix<D>*>& matrices) {
    for (const svd::TrainedMatrix<D>* matrix : matrices) {
      starts_.push_back(counts_);
      counts_.shared += matrix->counts().shared;
      counts_.own += matrix->counts().own;
    }
  }

  index_t size() const { return counts_.shared + counts_.own; }
  /// Where the numbers of a matrix lie in such a vector.
  svd::ParameterPlace place(std::size_t matrix, float* numbers) const {
    return {numbers + starts_[matrix].shared, numbers + counts_.shared + starts_[matrix].own};
  }

  /// Sums gradients over all ranks of the grid: what ranks share over the copy, then all over the copies. The order of
  /// the terms depends on the grid alone. Collective.
  void sum(const comm::ProcessGrid& grid, float* gradients) const;

  /// Returns √Σ g² over the whole model, each number counted once; gradients as sum() leaves them. Collective.
  double norm(const comm::ProcessGrid& grid, const float* gradients) const;

 private:
  svd::ParameterCounts counts_;
  std::vector<svd::ParameterCounts> starts_;  // (matrices)
};

}  // namespace hack::model
