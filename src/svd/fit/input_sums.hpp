#pragma once

#include <span>

#include "comm/communicator.hpp"
#include "kernels/queue.hpp"
#include "svd/fit/input_statistics.hpp"

namespace hack::svd {

/// The sums of InputStatistics while tokens are added, in memory of D: one rank's part of H, and of X or Y, in double.
template <Device D>
class InputSums {
 public:
  /// Sums over n inputs, all zero; `outputs` is m of Y, and has no meaning for other kinds. The queue outlives this.
  InputSums(Queue<D>& queue, index_t n, Cross kind = Cross::none, index_t outputs = 0);

  /// Adds the tokens of a window: `compressed` (tokens, n) x̂; `dense` (tokens, n) x or (tokens, m) y, not read where
  /// neither X nor Y is kept; weights (tokens) on the host, all 1 where there are none.
  void add(MatrixView<const float, D> compressed, MatrixView<const float, D> dense,
           std::span<const float> weights = {});

  /// Brings the sums to the host, adds them up over the ranks and fills both triangles of H. Collective; the sums are
  /// gone afterwards.
  InputStatistics finish(const comm::Communicator& comm);

 private:
  MatrixView<const float, D> scale(MatrixView<const float, D> x, Buffer<float, D>& scaled);

  Queue<D>& queue_;
  index_t n_;
  Cross kind_;
  index_t cross_rows_;                  // n of X, m of Y, or 0
  Buffer<double, D> h_;                 // (n, n) lower triangle
  Buffer<double, D> cross_;             // (cross_rows, n)
  Buffer<float, D> roots_;              // (tokens) √w
  Buffer<float, D> squares_;            // (tokens) of no use
  Buffer<float, D> scaled_compressed_;  // (tokens, n) √w x̂
  Buffer<float, D> scaled_dense_;       // (tokens, cross_rows) √w x or √w y
};

}  // namespace hack::svd
