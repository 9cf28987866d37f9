#pragma once

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::svd {

/// A matrix (m, n) that is trained on D by way of some parameters, of which its numbers are made. The parameters and
/// their gradients lie in arrays of somebody else's, so that one collective and one step of Adam take the parameters of
/// several matrices.
template <Device D>
class RefinableMatrix {
 public:
  virtual ~RefinableMatrix() = default;

  /// m
  virtual index_t rows() const = 0;
  /// n
  virtual index_t cols() const = 0;
  /// Of the parameters.
  virtual index_t count() const = 0;

  /// Writes the parameters as they are before any step; both arrays, in memory of D, hold count() numbers and are used
  /// from here on.
  virtual void place(float* parameters, float* gradients) = 0;

  /// Makes the matrix of the parameters.
  virtual void rebuild(Queue<D>& queue) = 0;

  /// The matrix as of the last rebuild(), (m, n).
  virtual MatrixView<const float, D> weights() const = 0;

  /// Writes the gradients of the parameters; dw (m, n) that of the matrix as of the last rebuild().
  virtual void differentiate(Queue<D>& queue, MatrixView<const float, D> dw) = 0;
};

}  // namespace hack::svd
