#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::comm {

/// Sums `x` over the ranks, in place, on every rank:
///
///     before  rank 0: a0   rank 1: a1   rank 2: a2
///     after   every rank: a0 + a1 + a2   (the same bits on every rank)
///
/// x must be contiguous (ld == cols). Cost: about 2 * bytes per rank on the wire. On the CPU through memory that ranks
/// of one node share, else by MPI; done when the call returns. On GPUs by NCCL, in the order of the queue; where ranks
/// share a GPU, on a copy in host memory.
template <Device D>
void all_reduce_sum(const Communicator& comm, Queue<D>& queue, MatrixView<float, D> x);

/// x += Σ y over the ranks, the residual connection behind a sum: the bits of all_reduce_sum(y), then add(y, x). y is
/// working memory afterwards; both (tokens, n), contiguous, on every rank the same x.
template <Device D>
void add_all_reduced(const Communicator& comm, Queue<D>& queue, MatrixView<float, D> y, MatrixView<float, D> x);

/// The same for a handful of host numbers.
void all_reduce_sum(const Communicator& comm, std::span<float> x);
void all_reduce_sum(const Communicator& comm, std::span<double> x);
void all_reduce_sum(const Communicator& comm, std::span<std::int64_t> x);
/// Always by MPI: what shared memory is compared with.
void all_reduce_sum_by_mpi(const Communicator& comm, std::span<float> x);
void all_reduce_max(const Communicator& comm, std::span<float> x);
double all_reduce_max(const Communicator& comm, double x);
double all_reduce_sum(const Communicator& comm, double x);

/// Concatenates what each rank gives, in rank order:
///
///     before  rank 0: [a b]   rank 1: []   rank 2: [c]
///     after   every rank (all_gather) or rank 0 (gather): [a b c]
///
/// Counts may differ. T is trivially copyable.
template <class T>
std::vector<T> all_gather(const Communicator& comm, std::span<const T> mine);
template <class T>
std::vector<T> gather(const Communicator& comm, std::span<const T> mine);

/// Rank `root`'s bytes on every rank; the sizes agree already.
void broadcast(const Communicator& comm, std::span<std::byte> bytes, int root = 0);
/// Rank 0's text or ids on every rank; sizes are sent along.
void broadcast(const Communicator& comm, std::string& text);
void broadcast(const Communicator& comm, std::vector<int>& ids);

/// The sum of `mine` over the ranks before this one.
std::int64_t exclusive_sum(const Communicator& comm, std::int64_t mine);

}  // namespace hack::comm

#include "comm/collectives.ipp"
