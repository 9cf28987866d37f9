#pragma once

#include <span>
#include <vector>

#include "model/heal/head_gradient.hpp"
#include "model/heal/layer_gradient.hpp"
#include "model/llama/llama.hpp"

namespace hack::model {

/// How a model is trained.
struct GradientOptions {
  HeldType type;                ///< what the dense model's weights are held in
  index_t window = 1024;        ///< the most tokens of a window
  DType products = DType::f32;  ///< what large products of the training may round their numbers to, f32 or bf16
};

/// KL(dense ‖ compressed) of a model over windows of text, and its gradient in all parameters of an archive's terms,
/// computed by ranks that share both models:
///
///     ids ─┬─ dense Llama ────────────────────────── final states ┐
///          └─ embed ─ x₀ ─ layer ─ x₁ ─ … ─ x_L ─ norm ─ states ──┴ head, divergence
///          gradients of layer L, …, 1  ◄── x_{l-1} kept, all else in a layer computed once more
///
/// Of a compressed head the numbers stay: its gradient goes to the states alone. Gradients are those of this rank's
/// block: sums over the ranks are the caller's.
template <Device D>
class ModelGradient {
 public:
  /// Reads this rank's share of both models. An Error where attention is not over whole windows (a sliding window below
  /// options.window) or its scores have a factor (yarn). All references outlive this.
  ModelGradient(const Checkpoint& checkpoint, const svd::FactorSource& archive, const comm::Communicator& tensor,
                Queue<D>& queue, const GradientOptions& options);

  /// The trained matrices, in the order of the layers.
  const std::vector<svd::TrainedMatrix<D>*>& matrices() const { return matrices_; }

  /// Returns the sum of the divergences after all tokens of a window, at most options.window; the same on every rank.
  double divergence(std::span<const int> ids);
  /// The same, and adds the gradients of factor times that sum to those of the matrices.
  double differentiate(std::span<const int> ids, float factor);

 private:
  using Stream = MatrixView<float, D>;

  Stream kept(std::size_t layer, index_t tokens);
  Stream run_dense(std::span<const int> ids);
  /// From ids to the final states of the compressed model; the input of every layer is kept where `keeps_inputs`.
  Stream run_layers(std::span<const int> ids, bool keeps_inputs);

  LlamaConfig config_;
  const comm::Communicator& tensor_;
  Queue<D>& queue_;
  GradientOptions options_;
  Llama<D> dense_;
  KvCache<D> cache_;
  std::vector<ShardPlan> plans_;  // (ranks) of the layers in training
  WeightMatrix<D> embedding_;     // (own vocabulary, hidden) of the compressed model
  WeightMatrix<D> head_;          // (own vocabulary, hidden) f32, what makes its logits
  std::vector<TrainingLayer<D>> layers_;
  std::size_t lowest_ = 0;       // the first layer with something to train
  Buffer<float, D> final_norm_;  // (hidden)
  std::vector<svd::TrainedMatrix<D>*> matrices_;
  LayerGradient<D> layer_gradient_;
  HeadGradient<D> head_gradient_;
  std::vector<Buffer<float, D>> inputs_;               // layers + 1 × (window, hidden)
  Buffer<float, D> dense_states_, states_, gradient_;  // (window, hidden)
  Buffer<float, D> dx_;                                // (window, hidden)
};

}  // namespace hack::model
