#pragma once

#include <vector>

#include "kernels/matrix_view.hpp"
#include "svd/quantize/quantized_rows.hpp"

namespace hack::svd {

/// Improves codes and scales of rows one at a time, all others held fixed, so that tr(E (H + d I) Eᵀ) never rises but
/// by rounding. With R = E (H + d I),
///
///     code      the one nearest to w'_j + R_j / (H_jj + d), w' what the row stands for now
///     scale     (d, m) of a block by least squares with the whole of H, its codes fixed: the change Δ that solves
///               Δ [L 1] H_bb [L 1]ᵀ = R_b [L 1]ᵀ, rounded as scales are
///
/// A pass takes each block's codes, then its scale, from left to right. Passes end where one gains less than a
/// thousandth of the loss. Rows do not depend on each other.
class CodeDescent {
 public:
  /// H (n, n) symmetric, the host's, outlives this; `damping`: d.
  CodeDescent(MatrixView<const double> h, double damping, const BlockGrid& grid, std::vector<Range> blocks);

  /// Working memory for chunks of so many rows.
  struct Space {
    Buffer<double> products;       // (rows, n) R
    Buffer<double> changes;        // (rows, panel) of E, not yet in R outside of the panel
    Buffer<double> h;              // (panel, panel) H + d I
    Buffer<double> levels;         // (panel)
    Buffer<float> narrow_h;        // (panel, n)
    Buffer<float> narrow_changes;  // (rows, panel)
    Buffer<float> narrow_sums;     // (rows, n)
  };
  Space space(index_t rows) const;

  /// At most so many passes over a chunk, whose errors are kept up. Does not throw; BLAS must be held to one thread.
  void run(const RowChunk& chunk, int passes, Space& space) const;

 private:
  struct Panel;
  struct Row;

  double pass(const RowChunk& chunk, Space& space) const;
  void add_changes(index_t first, MatrixView<const double> changes, Range rest, MatrixView<double> products,
                   Space& space) const;
  double improve_block(const RowChunk& chunk, std::size_t block, const Panel& panel) const;
  double improve_codes(const Row& row) const;
  double improve_scale(const Row& row) const;

  MatrixView<const double> h_;
  double damping_;
  BlockGrid grid_;
  std::vector<Range> blocks_;
};

}  // namespace hack::svd
