#pragma once

#include "comm/communicator.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::comm {

/// Sums over the ranks, each of which gets its own rows of the sum:
///
///     before  rank 0: [a0; b0]   rank 1: [a1; b1]
///     after   rank 0: a0 + a1    rank 1: b0 + b1
///
/// x (ranks * rows, cols), mine (rows, cols), both contiguous. Half of all_reduce_sum()'s bytes on the wire.
template <Device D>
void reduce_scatter_sum(const Communicator& comm, Queue<D>& queue, MatrixView<const float, D> x,
                        MatrixView<float, D> mine);

/// Puts the ranks' rows together again, in rank order; mine (rows, cols), all (ranks * rows, cols), both contiguous.
template <Device D>
void all_gather_rows(const Communicator& comm, Queue<D>& queue, MatrixView<const float, D> mine,
                     MatrixView<float, D> all);

}  // namespace hack::comm
