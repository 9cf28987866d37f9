#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"

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
/// will meet, w what a token's errors count, and where those differ from the dense model's, X or Y. In double, on the
/// host; InputSums makes them.
class InputStatistics {
 public:
  /// Takes H (n, n), symmetric, and the sum of this kind, (n, n) X or (m, n) Y or nothing.
  InputStatistics(index_t n, Buffer<double> h, Cross kind, Buffer<double> cross);

  /// H's lower triangle, row by row, in f32, and the statistics that it makes.
  static index_t packed_size(index_t n) { return n * (n + 1) / 2; }
  std::vector<float> packed() const;
  static InputStatistics from_packed(index_t n, std::span<const float> lower);

  MatrixView<const double> h() const { return {h_.data(), n_, n_}; }
  Cross kind() const { return kind_; }
  MatrixView<const double> cross() const { return {cross_.data(), cross_.size() / n_, n_}; }

 private:
  index_t n_;
  Cross kind_;
  Buffer<double> h_;      // (n, n)
  Buffer<double> cross_;  // (n, n) X, (m, n) Y, or (0, n)
};

}  // namespace hack::svd
