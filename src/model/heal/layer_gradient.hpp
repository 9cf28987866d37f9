#pragma once

#include <span>

#include "comm/communicator.hpp"
#include "kernels/back_propagation.hpp"
#include "model/heal/training_layer.hpp"

namespace hack::model {

/// Takes windows through decoder layers in training, forward and back: one rank's share, with the working memory for
/// one window and one layer. All ranks of `tensor` call the functions together.
///
///     x ─┬─ norm ─ q,k,v ─ rope ─ attention ─ o ─ Σ ─ + ─┬─ norm ─ gate,up ─ swiglu ─ down ─ Σ ─ + ─
///        └───────────────────────────────────────────────┘└──────────────────────────────────────┘
///
/// The way back takes the layer's input alone: everything up to down's input is computed once more. Sums over the
/// ranks: two forward, of what o and down give; three back, of what o gives once more and of the gradients in the two
/// norms' outputs.
template <Device D>
class LayerGradient {
 public:
  using Input = MatrixView<const float, D>;
  using Stream = MatrixView<float, D>;

  /// Windows of at most `tokens` tokens. `rounded`: what large products may round their numbers to, f32 or bf16. All
  /// references outlive this.
  LayerGradient(const LlamaConfig& config, const ShardPlan& plan, const comm::Communicator& tensor, Queue<D>& queue,
                index_t tokens, DType rounded);

  /// x (tokens, hidden) in front of the layer becomes x behind it. The layer is open.
  void forward(TrainingLayer<D>& layer, Stream x);

  /// dx (tokens, hidden), the gradient behind the layer, becomes the gradient in front of it; gradients of parameters
  /// are added. x is what forward() took. With `is_last` dx is of no use afterwards: nothing before it is trained.
  void backward(TrainingLayer<D>& layer, Input x, Stream dx, bool is_last);

 private:
  kernels::CacheView<D> cache(Buffer<float, D>& buffer, index_t tokens);
  void norm(Input x, const Buffer<float, D>& weight, Stream out);
  void norm_heads(const Buffer<float, D>& weight, Stream x, Buffer<float, D>& kept);
  void attend(TrainingLayer<D>& layer, Input x);
  void add_attention(TrainingLayer<D>& layer, Stream x);
  void run_mlp(TrainingLayer<D>& layer, Input x);
  void mlp_backward(TrainingLayer<D>& layer, Input mid, Stream dx);
  void attention_backward(TrainingLayer<D>& layer, Input x, Stream dx, bool is_last);
  Stream heads_backward(const Buffer<float, D>& weight, const Buffer<float, D>& before, Stream dy);
  Stream sum_of_input_gradients(TrainingLayer<D>& layer, std::span<const Linear> linears, std::span<const Stream> dys);

  const LlamaConfig& config_;
  const ShardPlan& plan_;
  const comm::Communicator& tensor_;
  Queue<D>& queue_;
  DType rounded_;
  Buffer<float, D> frequencies_, negative_frequencies_;  // (head_dim / 2)
  Buffer<float, D> normed_, normed_mlp_, mid_, y_, dn_;  // (tokens, hidden)
  Buffer<float, D> q_, q_before_, mixed_, dq_, dmixed_;  // (tokens, own heads * head_dim)
  Buffer<float, D> k_, k_before_, v_, dk_, dv_;          // (tokens, own kv_heads * head_dim)
  Buffer<float, D> keys_, values_;                       // (own kv_heads, tokens, head_dim)
  Buffer<float, D> heads_;                               // of dq_ or dk_, behind the norm of heads
  Buffer<float, D> gate_, up_, product_;                 // (tokens, own intermediate)
  Buffer<float, D> dw_;                                  // of one matrix after the other
};

}  // namespace hack::model
