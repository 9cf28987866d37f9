#pragma once

#include "comm/communicator.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::comm {

/// What stands between two matrices of weights: the sum over the ranks, the residual connection, the next norm.
template <Device D>
struct ResidualNorm {
  MatrixView<float, D> y;         // (tokens, n) this rank's part; overwritten
  MatrixView<float, D> x;         // (tokens, n) the residual stream, the same on every rank
  const float* weight = nullptr;  // (n)
  float epsilon = 0;
  MatrixView<float, D> normed;  // (tokens, n)
};

/// x += Σ y over the ranks; normed = x / sqrt(mean(x²) + epsilon) * weight. All contiguous. On GPUs few short rows go
/// through memory that ranks of a node map of each other, in one launch; else by a sum, and a launch for the
/// rest; on CPUs by add_all_reduced() and the norm after it. Collective.
template <Device D>
void add_reduced_and_norm(const Communicator& comm, Queue<D>& queue, const ResidualNorm<D>& work);

}  // namespace hack::comm
