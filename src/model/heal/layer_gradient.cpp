#include "model/heal/layer_gradient.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "comm/collectives.hpp"
#include "kernels/copy.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/gradient.hpp"
#include "model/llama/room.hpp"

namespace hack::model {

template <Device D>
LayerGradient<D>::LayerGradient(const LlamaConfig& config, const ShardPlan& plan, const comm::Communicator& tensor,
                                Queue<D>& queue, index_t tokens, DType rounded)
    : config_(config), plan_(plan), tensor_(tensor), queue_(queue), rounded_(rounded) {
  std::vector<float> frequencies = inverse_frequencies(config);
  frequencies_ = to_device<D>(frequencies.data(), std::ssize(frequencies));
  for (float& frequency : frequencies) frequency = -frequency;
  negative_frequencies_ = to_device<D>(frequencies.data(), std::ssize(frequencies));
  const index_t caches = tokens * plan.kv_heads.size() * config.head_dim;
  keys_ = Buffer<float, D>(caches);
  values_ = Buffer<float, D>(caches);
}

template <Device D>
kernels::CacheView<D> LayerGradient<D>::cache(Buffer<float, D>& buffer, index_t tokens) {
  return {buffer.data(), plan_.kv_heads.size(), tokens, config_.head_dim};
}

template <Device D>
void LayerGradient<D>::norm(Input x, const Buffer<float, D>& weight, Stream out) {
  kernels::rms_norm<D>(queue_, x, weight.data(), config_.rms_norm_eps, out);
}

/// Norms each head's part of x by itself, where the model has such norms, and keeps what x was.
template <Device D>
void LayerGradient<D>::norm_heads(const Buffer<float, D>& weight, Stream x, Buffer<float, D>& kept) {
  if (weight.size() == 0 || x.cols == 0) return;
  const index_t heads = x.rows * x.cols / config_.head_dim;
  const Stream before = room(kept, heads, config_.head_dim);
  kernels::copy<D, float>(queue_, Stream(x.data, heads, config_.head_dim), before);
  norm(before, weight, {x.data, heads, config_.head_dim});
}

/// From x to mixed_, what the heads saw.
template <Device D>
void LayerGradient<D>::attend(TrainingLayer<D>& layer, Input x) {
  const index_t tokens = x.rows, queries = layer[Linear::q].rows(), keys = layer[Linear::k].rows();
  const Stream normed = room(normed_, tokens, x.cols);
  norm(x, layer[Norm::input], normed);
  const Stream q = room(q_, tokens, queries), k = room(k_, tokens, keys), v = room(v_, tokens, keys);
  layer[Linear::q].apply(queue_, normed, q, rounded_);
  layer[Linear::k].apply(queue_, normed, k, rounded_);
  layer[Linear::v].apply(queue_, normed, v, rounded_);
  norm_heads(layer[Norm::q], q, q_before_);
  norm_heads(layer[Norm::k], k, k_before_);
  kernels::rope<D>(queue_, config_.head_dim, index_t{0}, frequencies_.data(), q);
  kernels::rope<D>(queue_, config_.head_dim, index_t{0}, frequencies_.data(), k);
  kernels::append_to_cache<D>(queue_, k, index_t{0}, cache(keys_, tokens));
  kernels::append_to_cache<D>(queue_, v, index_t{0}, cache(values_, tokens));
  kernels::attention<D>(queue_, q, cache(keys_, tokens), cache(values_, tokens), plan_.kv_of_head, index_t{0},
                        room(mixed_, tokens, queries));
}

template <Device D>
void LayerGradient<D>::add_attention(TrainingLayer<D>& layer, Stream x) {
  const Stream y = room(y_, x.rows, x.cols);
  layer[Linear::o].apply(queue_, room(mixed_, x.rows, layer[Linear::o].cols()), y, rounded_);
  comm::add_all_reduced<D>(tensor_, queue_, y, x);
}

/// From x behind the attention to gate_, up_ and product_.
template <Device D>
void LayerGradient<D>::run_mlp(TrainingLayer<D>& layer, Input x) {
  const index_t own = layer[Linear::gate].rows();
  const Stream normed = room(normed_mlp_, x.rows, x.cols);
  norm(x, layer[Norm::post_attention], normed);
  const Stream gate = room(gate_, x.rows, own), up = room(up_, x.rows, own);
  layer[Linear::gate].apply(queue_, normed, gate, rounded_);
  layer[Linear::up].apply(queue_, normed, up, rounded_);
  kernels::swiglu_into<D>(queue_, gate, up, room(product_, x.rows, own));
}

template <Device D>
void LayerGradient<D>::forward(TrainingLayer<D>& layer, Stream x) {
  attend(layer, x);
  add_attention(layer, x);
  run_mlp(layer, x);
  const Stream y = room(y_, x.rows, x.cols);
  layer[Linear::down].apply(queue_, room(product_, x.rows, layer[Linear::down].cols()), y, rounded_);
  comm::add_all_reduced<D>(tensor_, queue_, y, x);
}

/// Returns Σ dy W over the layers, and over the ranks.
template <Device D>
auto LayerGradient<D>::sum_of_input_gradients(TrainingLayer<D>& layer, std::span<const Linear> linears,
                                              std::span<const Stream> dys) -> Stream {
  const index_t tokens = dys[0].rows;
  const Stream sum = room(dn_, tokens, config_.hidden_size), next = room(y_, tokens, config_.hidden_size);
  for (std::size_t n = 0; n < linears.size(); ++n) {
    layer[linears[n]].input_gradient(queue_, dys[n], n == 0 ? sum : next, rounded_);
    if (n > 0) kernels::add<D>(queue_, next, sum);
  }
  comm::all_reduce_sum<D>(tensor_, queue_, sum);
  return sum;
}

/// dx behind the layer becomes dx behind the attention.
template <Device D>
void LayerGradient<D>::mlp_backward(TrainingLayer<D>& layer, Input mid, Stream dx) {
  const index_t own = layer[Linear::gate].rows();
  const Stream normed = room(normed_mlp_, dx.rows, dx.cols);
  const Stream gate = room(gate_, dx.rows, own), up = room(up_, dx.rows, own), product = room(product_, dx.rows, own);
  layer[Linear::down].weight_gradient(queue_, dx, product, dw_.data(), rounded_);
  layer[Linear::down].input_gradient(queue_, dx, product, rounded_);  // the product itself has been read
  kernels::swiglu_gradient<D>(queue_, product, gate, up);
  layer[Linear::gate].weight_gradient(queue_, gate, normed, dw_.data(), rounded_);
  layer[Linear::up].weight_gradient(queue_, up, normed, dw_.data(), rounded_);
  const Stream dn = sum_of_input_gradients(layer, std::array{Linear::gate, Linear::up}, std::array{gate, up});
  kernels::rms_norm_gradient<D>(queue_, dn, mid, layer[Norm::post_attention].data(), config_.rms_norm_eps, dx);
}

/// The gradient in front of the norm of heads, where there is one.
template <Device D>
auto LayerGradient<D>::heads_backward(const Buffer<float, D>& weight, const Buffer<float, D>& before, Stream dy)
    -> Stream {
  if (weight.size() == 0 || dy.cols == 0) return dy;
  const index_t heads = dy.rows * dy.cols / config_.head_dim;
  const Stream dx = room(heads_, heads, config_.head_dim);
  kernels::clear<D>(queue_, dx);
  kernels::rms_norm_gradient<D>(queue_, Input(dy.data, heads, config_.head_dim),
                                Input(before.data(), heads, config_.head_dim), weight.data(), config_.rms_norm_eps, dx);
  kernels::copy<D, float>(queue_, dx, Stream(dy.data, heads, config_.head_dim));
  return dy;
}

/// dx behind the attention becomes dx in front of the layer.
template <Device D>
void LayerGradient<D>::attention_backward(TrainingLayer<D>& layer, Input x, Stream dx, bool is_last) {
  const index_t tokens = x.rows, queries = layer[Linear::q].rows(), keys = layer[Linear::k].rows();
  const Stream normed = room(normed_, tokens, x.cols), mixed = room(mixed_, tokens, queries);
  const Stream dmixed = room(dmixed_, tokens, queries);
  layer[Linear::o].weight_gradient(queue_, dx, mixed, dw_.data(), rounded_);
  layer[Linear::o].input_gradient(queue_, dx, dmixed, rounded_);
  Stream dq = room(dq_, tokens, queries), dk = room(dk_, tokens, keys);
  const Stream dv = room(dv_, tokens, keys);
  kernels::attention_gradient<D>(
      queue_, {room(q_, tokens, queries), cache(keys_, tokens), cache(values_, tokens), plan_.kv_of_head}, dmixed,
      {dq, dk, dv});
  kernels::rope<D>(queue_, config_.head_dim, index_t{0}, negative_frequencies_.data(), dq);
  kernels::rope<D>(queue_, config_.head_dim, index_t{0}, negative_frequencies_.data(), dk);
  dq = heads_backward(layer[Norm::q], q_before_, dq);
  dk = heads_backward(layer[Norm::k], k_before_, dk);
  layer[Linear::q].weight_gradient(queue_, dq, normed, dw_.data(), rounded_);
  layer[Linear::k].weight_gradient(queue_, dk, normed, dw_.data(), rounded_);
  layer[Linear::v].weight_gradient(queue_, dv, normed, dw_.data(), rounded_);
  if (is_last) return;
  const Stream dn = sum_of_input_gradients(layer, std::array{Linear::q, Linear::k, Linear::v}, std::array{dq, dk, dv});
  kernels::rms_norm_gradient<D>(queue_, dn, x, layer[Norm::input].data(), config_.rms_norm_eps, dx);
}

template <Device D>
void LayerGradient<D>::backward(TrainingLayer<D>& layer, Input x, Stream dx, bool is_last) {
  index_t largest = 0;
  for (TrainingLinear<D>& linear : layer.linears) {
    if (linear.trained() != nullptr) largest = std::max(largest, linear.rows() * linear.cols());
  }
  room(dw_, 1, largest);
  const Stream mid = room(mid_, x.rows, x.cols);
  attend(layer, x);
  kernels::copy<D, float>(queue_, x, mid);
  add_attention(layer, mid);
  run_mlp(layer, mid);
  mlp_backward(layer, mid, dx);
  attention_backward(layer, x, dx, is_last);
}

template class LayerGradient<Device::cpu>;
template class LayerGradient<Device::cuda>;

}  // namespace hack::model
