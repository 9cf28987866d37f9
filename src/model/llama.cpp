#include "model/llama.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "kernels/attention.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/vocabulary.hpp"
#include "model/names.hpp"

namespace hack::model {
namespace {

using svd::Range;

Range scaled(Range heads, index_t head_dim) { return {heads.begin * head_dim, heads.end * head_dim}; }

template <Device D>
LlamaLayer<D> read_layer(const WeightSource& source, const LlamaConfig& config, const ShardPlan& plan, index_t layer,
                         bool is_first_rank) {
  const std::string prefix = layer_prefix(layer);
  const Range hidden = {0, config.hidden_size};
  const Range q_rows = scaled(plan.heads, config.head_dim);
  const Range kv_rows = scaled(plan.kv_heads, config.head_dim);
  const Range inner = plan.intermediate[layer];
  const bool attention_bias = config.attention_bias;
  const bool mlp_bias = config.mlp_bias;
  return {
      .input_norm = read_vector<D>(source.checkpoint, prefix + "input_layernorm.weight", hidden),
      .q = {source, prefix + "self_attn.q_proj", q_rows, hidden, attention_bias},
      .k = {source, prefix + "self_attn.k_proj", kv_rows, hidden, attention_bias},
      .v = {source, prefix + "self_attn.v_proj", kv_rows, hidden, attention_bias},
      .o = {source, prefix + "self_attn.o_proj", hidden, q_rows, attention_bias && is_first_rank},
      .post_attention_norm = read_vector<D>(source.checkpoint, prefix + "post_attention_layernorm.weight", hidden),
      .gate = {source, prefix + "mlp.gate_proj", inner, hidden, mlp_bias},
      .up = {source, prefix + "mlp.up_proj", inner, hidden, mlp_bias},
      .down = {source, prefix + "mlp.down_proj", hidden, inner, mlp_bias && is_first_rank},
  };
}

}  // namespace

template <Device D>
Llama<D>::Llama(const WeightSource& source, const comm::Communicator& tensor, Queue<D>& queue)
    : config_(source.checkpoint.config()),
      tensor_(tensor),
      queue_(queue),
      plan_(ShardPlan::make(config_, source.archive, tensor.size(), tensor.rank())) {
  const Range hidden = {0, config_.hidden_size};
  embedding_ = read_weights<D>(source.checkpoint, embedding_name, plan_.vocabulary, hidden, source.type);
  if (!config_.tied_embeddings) {
    head_ = read_weights<D>(source.checkpoint, head_name, plan_.vocabulary, hidden, source.type);
  }
  for (index_t layer = 0; layer < config_.layers; ++layer) {
    layers_.push_back(read_layer<D>(source, config_, plan_, layer, tensor.is_root()));
  }
  final_norm_ = read_vector<D>(source.checkpoint, final_norm_name, hidden);
  const std::vector<float> frequencies = inverse_frequencies(config_);
  inverse_frequencies_ = to_device<D>(frequencies.data(), std::ssize(frequencies));
}

template <Device D>
KvCache<D> Llama<D>::make_cache(index_t capacity) const {
  return {config_.layers, plan_.kv_heads.size(), capacity, config_.head_dim};
}

template <Device D>
void Llama<D>::reserve(index_t tokens) {
  if (tokens <= work_.tokens) return;
  index_t inner = 0;
  for (Range range : plan_.intermediate) inner = std::max(inner, range.size());
  const index_t q_size = plan_.heads.size() * config_.head_dim;
  const index_t kv_size = plan_.kv_heads.size() * config_.head_dim;
  work_ = {};  // the old buffers go before the larger ones come
  work_.tokens = tokens;
  for (Buffer<float, D>* buffer : {&work_.x, &work_.normed, &work_.y})
    *buffer = Buffer<float, D>(tokens * config_.hidden_size);
  for (Buffer<float, D>* buffer : {&work_.q, &work_.mixed}) *buffer = Buffer<float, D>(tokens * q_size);
  for (Buffer<float, D>* buffer : {&work_.k, &work_.v}) *buffer = Buffer<float, D>(tokens * kv_size);
  for (Buffer<float, D>* buffer : {&work_.gate, &work_.up}) *buffer = Buffer<float, D>(tokens * inner);
}

template <Device D>
MatrixView<const float, D> Llama<D>::forward(std::span<const int> ids, KvCache<D>& cache) {
  const index_t tokens = std::ssize(ids);
  HACK_EXPECT(tokens > 0 && cache.length() + tokens <= cache.capacity());
  for (int id : ids) {
    validate(id >= 0 && id < config_.vocab_size,
             "token id {} is outside the vocabulary of {}; the tokenizer does not belong to this model", id,
             config_.vocab_size);
  }
  reserve(tokens);
  const MatrixView<float, D> x(work_.x.data(), tokens, config_.hidden_size);
  kernels::embed(queue_, ids, embedding_.view(), plan_.vocabulary.begin, x);
  comm::all_reduce_sum(tensor_, x);
  for (index_t layer = 0; layer < config_.layers; ++layer) {
    attend(layer, tokens, cache);
    feed_forward(layer, tokens);
  }
  cache.advance(tokens);
  const MatrixView<float, D> normed(work_.normed.data(), tokens, config_.hidden_size);
  kernels::rms_norm<D>(queue_, x, final_norm_.data(), config_.rms_norm_eps, normed);
  return normed;
}

template <Device D>
void Llama<D>::attend(index_t index, index_t tokens, KvCache<D>& cache) {
  const LlamaLayer<D>& layer = layers_[index];
  const index_t q_size = plan_.heads.size() * config_.head_dim;
  const index_t kv_size = plan_.kv_heads.size() * config_.head_dim;
  const index_t position = cache.length();
  const MatrixView<float, D> x(work_.x.data(), tokens, config_.hidden_size);
  const MatrixView<float, D> normed(work_.normed.data(), tokens, config_.hidden_size);
  const MatrixView<float, D> y(work_.y.data(), tokens, config_.hidden_size);
  const MatrixView<float, D> q(work_.q.data(), tokens, q_size);
  const MatrixView<float, D> k(work_.k.data(), tokens, kv_size);
  const MatrixView<float, D> v(work_.v.data(), tokens, kv_size);
  const MatrixView<float, D> mixed(work_.mixed.data(), tokens, q_size);

  kernels::rms_norm<D>(queue_, x, layer.input_norm.data(), config_.rms_norm_eps, normed);
  layer.q.apply(queue_, normed, q);
  layer.k.apply(queue_, normed, k);
  layer.v.apply(queue_, normed, v);
  kernels::rope(queue_, config_.head_dim, position, inverse_frequencies_.data(), q);
  kernels::rope(queue_, config_.head_dim, position, inverse_frequencies_.data(), k);
  kernels::append_to_cache<D>(queue_, k, position, cache.keys(index));
  kernels::append_to_cache<D>(queue_, v, position, cache.values(index));
  kernels::attention<D>(queue_, q, cache.keys(index), cache.values(index), plan_.kv_of_head, position, mixed);
  layer.o.apply(queue_, mixed, y);
  comm::all_reduce_sum(tensor_, y);
  kernels::add<D>(queue_, y, x);
}

template <Device D>
void Llama<D>::feed_forward(index_t index, index_t tokens) {
  const LlamaLayer<D>& layer = layers_[index];
  const index_t inner = plan_.intermediate[index].size();
  const MatrixView<float, D> x(work_.x.data(), tokens, config_.hidden_size);
  const MatrixView<float, D> normed(work_.normed.data(), tokens, config_.hidden_size);
  const MatrixView<float, D> y(work_.y.data(), tokens, config_.hidden_size);
  const MatrixView<float, D> gate(work_.gate.data(), tokens, inner);
  const MatrixView<float, D> up(work_.up.data(), tokens, inner);

  kernels::rms_norm<D>(queue_, x, layer.post_attention_norm.data(), config_.rms_norm_eps, normed);
  layer.gate.apply(queue_, normed, gate);
  layer.up.apply(queue_, normed, up);
  kernels::swiglu<D>(queue_, up, gate);
  layer.down.apply(queue_, gate, y);
  comm::all_reduce_sum(tensor_, y);
  kernels::add<D>(queue_, y, x);
}

template <Device D>
std::vector<float> Llama<D>::losses(MatrixView<const float, D> states, std::span<const int> targets) {
  const index_t tokens = std::ssize(targets);
  std::vector<kernels::PartialLoss> parts(tokens);
  kernels::partial_losses(queue_, states, head(), plan_.vocabulary.begin, targets, std::span(parts));

  // max over ranks first, so that no exponential overflows; then the two sums.
  std::vector<float> maxima(tokens);
  for (index_t t = 0; t < tokens; ++t) maxima[t] = parts[t].maximum;
  comm::all_reduce_max(tensor_, std::span(maxima));
  std::vector<double> sums(2 * tokens);  // Σ exp(logit - max), then target logits
  for (index_t t = 0; t < tokens; ++t) {
    sums[t] = parts[t].sum * std::exp(static_cast<double>(parts[t].maximum) - maxima[t]);
    sums[tokens + t] = parts[t].target_logit;
  }
  comm::all_reduce_sum(tensor_, std::span(sums));
  std::vector<float> losses(tokens);
  for (index_t t = 0; t < tokens; ++t) losses[t] = static_cast<float>(maxima[t] + std::log(sums[t]) - sums[tokens + t]);
  return losses;
}

template <Device D>
std::vector<float> Llama<D>::logits(MatrixView<const float, D> state) {
  HACK_EXPECT(state.rows == 1);
  const index_t own = plan_.vocabulary.size();
  Buffer<float, D> part(own);
  kernels::linear(queue_, state, head(), MatrixView<float, D>(part.data(), 1, own));
  queue_.wait();
  std::vector<float> host(own);
  kernels::copy_to_host<D>(host.data(), part.data(), part.bytes());
  return comm::gather<float>(tensor_, host);
}

template <Device D>
index_t Llama<D>::bytes_per_token() const {
  index_t bytes = head().rows * head().cols * size_of(head().type) + final_norm_.bytes();
  for (const LlamaLayer<D>& layer : layers_) {
    bytes += layer.input_norm.bytes() + layer.post_attention_norm.bytes();
    for (const LinearLayer<D>* part : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      bytes += part->bytes();
    }
  }
  return bytes;
}

template <Device D>
index_t Llama<D>::bytes_held() const {
  return bytes_per_token() + (config_.tied_embeddings ? 0 : embedding_.bytes());
}

template class Llama<Device::cpu>;
template class Llama<Device::cuda>;

}  // namespace hack::model
