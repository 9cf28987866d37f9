#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::svd {

/// What a matrix should do with inputs x̂ that the dense model never sees: nothing else than the dense weights say, or
/// meet what the dense model has there. X needs n² numbers and serves all matrices with that input; Y, m n numbers, is
/// of one matrix, and the cheaper one of a matrix with more inputs n than outputs m.
enum class Cross : std::uint8_t {
  none,
  inputs,   ///< X = Σ w x x̂ᵀ, x (n) the dense model's inputs
  outputs,  ///< Y = Σ w y x̂ᵀ, y = W x (m) what the dense model makes of them
};

/// What calibration keeps of the inputs of a matrix: H = Σ w x̂ x̂ᵀ over the tokens of all ranks, x̂ the inputs that it
/// will meet, w what a token's errors count, and where those differ from the dense model's, X or Y. In double.
class InputStatistics {
 public:
  /// Sums over n inputs, all zero; `outputs` is m of Y, of no meaning otherwise.
  explicit InputStatistics(index_t n, Cross cross = Cross::none, index_t outputs = 0);

  /// Adds the tokens of a window: `met` (tokens, n), `dense` (tokens, n) x or (tokens, m) y, not looked at without
  /// either sum; weights (tokens), all 1 where there are none.
  void add(Queue<Device::cpu>& queue, MatrixView<const float> met, MatrixView<const float> dense,
           std::span<const float> weights = {});

  /// Sums up over the ranks and completes H. Collective; once, at the end.
  void finish(const comm::Communicator& comm);

  /// H's lower triangle, row by row, in f32, and the statistics that it makes.
  static index_t packed_size(index_t n) { return n * (n + 1) / 2; }
  std::vector<float> packed() const;
  static InputStatistics from_packed(index_t n, std::span<const float> lower);

  MatrixView<const double> h() const { return {h_.data(), n_, n_}; }
  Cross kind() const { return kind_; }
  MatrixView<const double> cross() const { return {cross_.data(), cross_rows_, n_}; }

 private:
  index_t n_;
  Cross kind_;
  index_t cross_rows_;          // n of X, m of Y, or 0
  Buffer<double> h_;            // (n, n)
  Buffer<double> cross_;        // (cross_rows, n)
  Buffer<float> scaled_met_;    // (tokens, n) √w x̂
  Buffer<float> scaled_dense_;  // (tokens, cross_rows) √w x or √w y
};

}  // namespace hack::svd
