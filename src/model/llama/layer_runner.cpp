#include "model/llama/layer_runner.hpp"

#include "comm/collectives.hpp"
#include "comm/residual_norm.hpp"
#include "kernels/attention.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/gated_linear.hpp"
#include "kernels/head_projection.hpp"
#include "model/llama/phase_timer.hpp"
#include "model/llama/room.hpp"

namespace hack::model {
namespace {

/// Norms each head's part of x (tokens, heads * head_dim) by itself, where the model has such norms: weight (head_dim).
template <Device D>
void norm_heads(Queue<D>& queue, const Buffer<float, D>& weight, float epsilon, MatrixView<float, D> x) {
  if (weight.size() == 0 || x.cols == 0) return;
  const MatrixView<float, D> heads(x.data, x.rows * x.cols / weight.size(), weight.size());
  kernels::rms_norm<D>(queue, heads, weight.data(), epsilon, heads);
}

}  // namespace

template <Device D>
LayerRunner<D>::LayerRunner(const LlamaConfig& config, const comm::Communicator& tensor, Queue<D>& queue)
    : config_(config), tensor_(tensor), queue_(queue) {
  const std::vector<float> frequencies = inverse_frequencies(config);
  inverse_frequencies_ = to_device<D>(frequencies.data(), std::ssize(frequencies));
}

template <Device D>
auto LayerRunner<D>::norm(Input x, const float* weight) -> Input {
  const Stream normed = room(normed_, x.rows, x.cols);
  kernels::rms_norm<D>(queue_, x, weight, config_.rms_norm_eps, normed);
  return normed;
}

template <Device D>
auto LayerRunner<D>::attention_input(const LlamaLayer<D>& layer, Input x) -> Input {
  return norm(x, layer[Norm::input].data());
}

template <Device D>
auto LayerRunner<D>::attention_mix(const LlamaLayer<D>& layer, Input input, std::span<const int> kv_of_head,
                                   Position<D> position, kernels::CacheView<D> keys, kernels::CacheView<D> values)
    -> Input {
  const Stream q = room(q_, input.rows, layer[Linear::q].rows());
  const Stream k = room(k_, input.rows, layer[Linear::k].rows());
  const Stream v = room(v_, input.rows, layer[Linear::v].rows());
  const Stream mixed = room(mixed_, input.rows, layer[Linear::q].rows());
  const bool has_norms = layer[Norm::q].size() > 0 || layer[Norm::k].size() > 0;
  const kernels::HeadProjection<D> heads{layer[Linear::q].view(),
                                         layer[Linear::k].view(),
                                         layer[Linear::v].view(),
                                         position,
                                         inverse_frequencies_.data(),
                                         keys,
                                         values};
  if (has_norms || !kernels::project_heads<D>(queue_, input, heads, q)) {
    layer[Linear::q].apply(queue_, input, q);
    layer[Linear::k].apply(queue_, input, k);
    layer[Linear::v].apply(queue_, input, v);
    norm_heads(queue_, layer[Norm::q], config_.rms_norm_eps, q);
    norm_heads(queue_, layer[Norm::k], config_.rms_norm_eps, k);
    kernels::rope<D>(queue_, config_.head_dim, position, inverse_frequencies_.data(), q);
    kernels::rope<D>(queue_, config_.head_dim, position, inverse_frequencies_.data(), k);
    kernels::append_to_cache<D>(queue_, k, position, keys);
    kernels::append_to_cache<D>(queue_, v, position, values);
  }
  keys.window = layer.window;
  keys.score_factor = score_factor(config_);
  const PhaseTimer::Scope<D> timed(queue_, Phase::attention);
  kernels::attention<D>(queue_, q, keys, values, kv_of_head, position, mixed);
  return mixed;
}

template <Device D>
void LayerRunner<D>::add_attention(const LlamaLayer<D>& layer, Input mixed, Stream x) {
  add_output(layer[Linear::o], mixed, x);
}

template <Device D>
auto LayerRunner<D>::mlp_input(const LlamaLayer<D>& layer, Input x) -> Input {
  return norm(x, layer[Norm::post_attention].data());
}

template <Device D>
auto LayerRunner<D>::head_input(const float* weight, Input x) -> Input {
  return norm(x, weight);
}

template <Device D>
auto LayerRunner<D>::mlp_inner(const LlamaLayer<D>& layer, Input input) -> Input {
  const Stream gate = room(gate_, input.rows, layer[Linear::gate].rows());
  const Stream up = room(up_, input.rows, layer[Linear::up].rows());
  const PhaseTimer::Scope<D> timed(queue_, Phase::weights);
  kernels::gated_linear<D>(queue_, input, layer[Linear::gate].view(), layer[Linear::up].view(), gate, up);
  return gate;
}

template <Device D>
void LayerRunner<D>::add_mlp(const LlamaLayer<D>& layer, Input inner, Stream x) {
  add_output(layer[Linear::down], inner, x);
}

template <Device D>
void LayerRunner<D>::add_output(const LinearLayer<D>& output, Input input, Stream x) {
  const Stream y = room(y_, x.rows, x.cols);
  output.apply(queue_, input, y);
  comm::add_all_reduced<D>(tensor_, queue_, y, x);
}

template <Device D>
auto LayerRunner<D>::add_attention_and_norm(const LlamaLayer<D>& layer, Input mixed, Stream x) -> Input {
  const Stream normed = room(normed_, x.rows, x.cols);
  add_output_and_norm(layer[Linear::o], mixed, x, layer[Norm::post_attention].data(), normed);
  return normed;
}

template <Device D>
auto LayerRunner<D>::add_mlp_and_norm(const LlamaLayer<D>& layer, Input inner, Stream x, const float* weight) -> Input {
  const Stream normed = room(normed_, x.rows, x.cols);
  add_output_and_norm(layer[Linear::down], inner, x, weight, normed);
  return normed;
}

template <Device D>
void LayerRunner<D>::add_mlp_and_norm(const LlamaLayer<D>& layer, Input inner, Stream x, const float* weight,
                                      Stream normed) {
  add_output_and_norm(layer[Linear::down], inner, x, weight, normed);
}

template <Device D>
void LayerRunner<D>::add_output_and_norm(const LinearLayer<D>& output, Input input, Stream x, const float* weight,
                                         Stream normed) {
  const Stream y = room(y_, x.rows, x.cols);
  output.apply(queue_, input, y);
  comm::add_reduced_and_norm<D>(tensor_, queue_, {y, x, weight, config_.rms_norm_eps, normed});
}

template class LayerRunner<Device::cpu>;
template class LayerRunner<Device::cuda>;

}  // namespace hack::model
