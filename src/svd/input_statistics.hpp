#pragma once

#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::svd {

/// What calibration keeps of the inputs of a matrix: H = Σ w x̂ x̂ᵀ over the tokens of all ranks, x̂ the inputs that it
/// will meet, w what a token's errors count, and where those differ from the inputs x of the dense model, X = Σ w x x̂ᵀ.
/// In double, n² numbers each.
class InputStatistics {
 public:
  /// Sums over n inputs, all zero; X only `with_cross`.
  InputStatistics(index_t n, bool with_cross);

  /// Adds the tokens of a window; `met` and `dense` (tokens, n), weights (tokens), all 1 where there are none. Without
  /// X, `dense` is not looked at.
  void add(Queue<Device::cpu>& queue, MatrixView<const float> met, MatrixView<const float> dense,
           std::span<const float> weights = {});

  /// Sums up over the ranks and completes H. Collective; once, at the end.
  void finish(const comm::Communicator& comm);

  /// H's lower triangle, row by row, in f32, and the statistics that it makes.
  static index_t packed_size(index_t n) { return n * (n + 1) / 2; }
  std::vector<float> packed() const;
  static InputStatistics from_packed(index_t n, std::span<const float> lower);

  MatrixView<const double> h() const { return {h_.data(), n_, n_}; }
  bool has_cross() const { return cross_.size() > 0; }
  MatrixView<const double> cross() const { return {cross_.data(), n_, n_}; }

 private:
  index_t n_;
  Buffer<double> h_;      // (n, n)
  Buffer<double> cross_;  // (n, n) or empty
  Buffer<float> scaled_;  // (2 tokens, n) √w x̂, √w x
};

}  // namespace hack::svd
