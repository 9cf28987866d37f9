#pragma once

#include "comm/communicator.hpp"
#include "model/llama/kv_cache.hpp"
#include "model/llama/llama_layer.hpp"

namespace hack::model {

/// Runs decoder layers, step by step, over the residual stream x (tokens, hidden): one rank's share, with the working
/// memory for it. All ranks of `tensor` call the steps together.
///
///     x ─┬─ attention_input ─ attention_mix ─ add_attention ─┬─ mlp_input ─ mlp_inner ─ add_mlp ─ x
///        └───────────────────── x ─────────────────────── + ─┘└────────── x ─────────────── +
///
/// The steps end where a matrix of weights begins: what they return is what calibration looks at. Returned views are
/// valid until the same step is called again.
template <Device D>
class LayerRunner {
 public:
  using Input = MatrixView<const float, D>;
  using Stream = MatrixView<float, D>;

  /// All three outlive this.
  LayerRunner(const LlamaConfig& config, const comm::Communicator& tensor, Queue<D>& queue);

  /// Returns norm(x), the input of q, k and v.
  Input attention_input(const LlamaLayer<D>& layer, Input x);  // (tokens, hidden)
  /// Returns what the heads saw, the input of o. `input` from `position` on; keys and values are appended
  /// there; kv_of_head as in ShardPlan.
  Input attention_mix(const LlamaLayer<D>& layer, Input input, std::span<const int> kv_of_head, Position<D> position,
                      kernels::CacheView<D> keys, kernels::CacheView<D> values);  // (tokens, own heads * head_dim)
  /// x += Σ o(mixed) over the ranks.
  void add_attention(const LlamaLayer<D>& layer, Input mixed, Stream x);

  /// Returns norm(x), the input of gate and up.
  Input mlp_input(const LlamaLayer<D>& layer, Input x);  // (tokens, hidden)
  /// Returns silu(gate(input)) * up(input), the input of down.
  Input mlp_inner(const LlamaLayer<D>& layer, Input input);  // (tokens, own intermediate)
  /// x += Σ down(inner) over the ranks.
  void add_mlp(const LlamaLayer<D>& layer, Input inner, Stream x);

  /// Returns norm(x) by the final norm's weights (hidden), the input of the head.
  Input head_input(const float* weight, Input x);  // (tokens, hidden)

  /// add_attention(), then mlp_input(), in less time where the device has them as one.
  Input add_attention_and_norm(const LlamaLayer<D>& layer, Input mixed, Stream x);  // (tokens, hidden)
  /// add_mlp(), then the norm with weights (hidden) of whatever comes next; normed (tokens, hidden), and without it as
  /// attention_input().
  Input add_mlp_and_norm(const LlamaLayer<D>& layer, Input inner, Stream x, const float* weight);
  void add_mlp_and_norm(const LlamaLayer<D>& layer, Input inner, Stream x, const float* weight, Stream normed);

 private:
  Input norm(Input x, const float* weight);  // (tokens, hidden)
  /// x += Σ output(input) over the ranks.
  void add_output(const LinearLayer<D>& output, Input input, Stream x);
  void add_output_and_norm(const LinearLayer<D>& output, Input input, Stream x, const float* weight, Stream normed);

  const LlamaConfig& config_;
  const comm::Communicator& tensor_;
  Queue<D>& queue_;
  Buffer<float, D> inverse_frequencies_;  // (head_dim / 2)
  Buffer<float, D> normed_;               // (tokens, hidden)
  Buffer<float, D> y_;                    // (tokens, hidden) what a block adds, before and after its all-reduce
  Buffer<float, D> q_;                    // (tokens, own heads * head_dim)
  Buffer<float, D> k_;                    // (tokens, own kv_heads * head_dim)
  Buffer<float, D> v_;                    // (tokens, own kv_heads * head_dim)
  Buffer<float, D> mixed_;                // (tokens, own heads * head_dim)
  Buffer<float, D> gate_;                 // (tokens, own intermediate)
  Buffer<float, D> up_;                   // (tokens, own intermediate)
};

}  // namespace hack::model
