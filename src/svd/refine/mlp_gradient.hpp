#pragma once

#include <span>

#include "kernels/buffer.hpp"
#include "svd/refine/refinable_matrix.hpp"

namespace hack::svd {

/// The squared error of a SwiGLU MLP (Shazeer 2020), f(x) = down (silu(gate x) * up x), and its gradient in the
/// parameters of its matrices, on D. With H the hidden size and I the intermediate size, gate and up are (I, H), down
/// is (H, I).
///
/// A gradient costs seven products of tokens · H · I multiply-adds (three forward, four back; no gradient of the
/// inputs) and what the matrices take for themselves. All memory is taken once: one gradient of a matrix's size, three
/// buffers (tokens, I), one (tokens, H), and the parameters twice.
template <Device D>
class MlpGradient {
 public:
  /// Places the matrices' parameters here; the matrices outlive this. `max_tokens` >= 1: the most tokens of a call.
  /// `rounded`: the type that the seven products may round their numbers to, f32 or bf16.
  MlpGradient(RefinableMatrix<D>& gate, RefinableMatrix<D>& up, RefinableMatrix<D>& down, index_t max_tokens,
              DType rounded = DType::f32);

  /// H
  index_t hidden() const { return down_.rows(); }
  /// I
  index_t intermediate() const { return down_.cols(); }
  index_t max_tokens() const { return max_tokens_; }

  /// Those of gate, up and down in turn, in memory of D. A caller that changes them calls rebuild() afterwards.
  std::span<float> parameters() { return {parameters_.data(), static_cast<std::size_t>(parameters_.size())}; }
  /// The gradients, in the order of the parameters.
  std::span<float> gradients() { return {gradients_.data(), static_cast<std::size_t>(gradients_.size())}; }

  /// Makes the matrices of the present parameters; also called once before the first use.
  void rebuild(Queue<D>& queue);

  /// Returns Σ_t weight_t ‖f(x_t) - target_t‖²; inputs and targets (tokens, H), weights (tokens), all 1 without them.
  /// All in memory of D.
  double squared_error(Queue<D>& queue, MatrixView<const float, D> inputs, MatrixView<const float, D> targets,
                       const float* weights = nullptr);

  /// Returns the squared error and writes the gradients of factor · Σ_t weight_t ‖f(x_t) - target_t‖²; zeros for no
  /// tokens.
  double differentiate(Queue<D>& queue, MatrixView<const float, D> inputs, MatrixView<const float, D> targets,
                       double factor, const float* weights = nullptr);

 private:
  double run_forward(Queue<D>& queue, MatrixView<const float, D> inputs, MatrixView<const float, D> targets,
                     const float* weights, float factor);

  index_t max_tokens_;
  DType rounded_;
  RefinableMatrix<D>& gate_;
  RefinableMatrix<D>& up_;
  RefinableMatrix<D>& down_;
  Buffer<float, D> parameters_;
  Buffer<float, D> gradients_;
  Buffer<float, D> weight_gradient_;  // (I, H) or (H, I), of one matrix after the other
  Buffer<float, D> gate_out_;         // (tokens, I) gate x, then its gradient
  Buffer<float, D> up_out_;           // (tokens, I) up x, then its gradient
  Buffer<float, D> product_;          // (tokens, I) silu(gate x) * up x, then its gradient
  Buffer<float, D> out_;              // (tokens, H) f(x), then its gradient
  Buffer<float, D> squares_;          // (tokens)
};

}  // namespace hack::svd
