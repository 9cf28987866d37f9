#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"

namespace hack::svd {

/// What a matrix should do with inputs x̂ of the compressed model, which differ from the dense model's inputs x: what
/// the dense weights do with x̂, or meet the dense model's outputs. X needs n² numbers and serves all matrices with the
/// same input; Y needs m n numbers and serves one matrix: it is the cheaper sum of a matrix with more inputs n than
/// outputs m.
enum class Cross : std::uint8_t {
  none,
  inputs,   ///< X = Σ w x x̂ᵀ, x (n) the dense model's inputs
  outputs,  ///< Y = Σ w y x̂ᵀ, y = W x (m) the dense model's outputs
};

/// What calibration keeps of the inputs of a matrix: H = Σ w x̂ x̂ᵀ over the tokens of all ranks, x̂ the inputs that the
/// compressed matrix will meet and w the weight of a token's errors; where x̂ differs from the dense model's inputs,
/// also X or Y. H is the proxy Hessian of GPTQ (Frantar et al. 2023, arXiv 2210.17323) and the Gram matrix that SVD-LLM
/// (Wang et al. 2025, arXiv 2403.07378) whitens with. In double, on the host; InputSums makes these statistics.
class InputStatistics {
 public:
  /// Takes H (n, n), symmetric, and the sum of this kind, (n, n) X or (m, n) Y or nothing.
  InputStatistics(index_t n, Buffer<double> h, Cross kind, Buffer<double> cross);

  /// packed() returns H's lower triangle, row by row, in f32; from_packed() makes statistics of it.
  static index_t packed_size(index_t n) { return n * (n + 1) / 2; }
  std::vector<float> packed() const;
  static InputStatistics from_packed(index_t n, std::span<const float> lower);

  MatrixView<const double> h() const { return {h_.data(), n_, n_}; }
  Cross kind() const { return kind_; }
  MatrixView<const double> cross() const { return {cross_.data(), cross_.size() / n_, n_}; }

  /// Lets go of X or Y: the kind is `none` from then on.
  void forget_cross() {
    kind_ = Cross::none;
    cross_ = {};
  }

 private:
  index_t n_;
  Cross kind_;
  Buffer<double> h_;      // (n, n)
  Buffer<double> cross_;  // (n, n) X, (m, n) Y, or (0, n)
};

}  // namespace hack::svd
