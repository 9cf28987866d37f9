#include "model/llama/llama.hpp"

#include <cmath>

#include "comm/collectives.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/vocabulary.hpp"
#include "model/llama/embedding_table.hpp"
#include "model/llama/phase_timer.hpp"

namespace hack::model {
using svd::Range;

namespace {

/// Whether all numbers are at most largest_sound; no NaN is. No branch, so that it vectorizes.
bool is_sound(MatrixView<const float> x) {
  bool sound = true;
  for (index_t t = 0; t < x.rows; ++t) {
    const float* const row = x.row(t);
    for (index_t i = 0; i < x.cols; ++i) sound &= std::abs(row[i]) <= largest_sound;
  }
  return sound;
}

}  // namespace

template <Device D>
Llama<D>::Llama(const WeightSource& source, const comm::Communicator& tensor, Queue<D>& queue, Slice slice)
    : config_(source.checkpoint.config()),
      tensor_(tensor),
      queue_(queue),
      plan_(ShardPlan::make(config_, source.archive, slice.parts, slice.part)),
      runner_(config_, tensor, queue) {
  const Range hidden = {0, config_.hidden_size};
  embedding_ = read_embedding<D>(source, plan_.vocabulary);
  has_compressed_head_ = source.archive != nullptr && source.archive->contains(head_weights(config_));
  if (!config_.tied_embeddings) {
    head_.emplace(source, head_path, plan_.vocabulary, hidden, /*has_bias=*/false);
  }
  for (index_t layer = 0; layer < config_.layers; ++layer) {
    layers_.push_back(read_layer<D>(source, plan_, layer, slice.part == 0));
  }
  final_norm_ = read_vector<D>(source.checkpoint, final_norm_name, hidden);
}

template <Device D>
KvCache<D> Llama<D>::make_cache(index_t capacity) const {
  check_length(config_, capacity);
  return {config_.layers, plan_.kv_heads.size(), capacity, config_.head_dim};
}

template <Device D>
MatrixView<const float, D> Llama<D>::forward(std::span<const int> ids, KvCache<D>& cache) {
  return run(ids, cache, std::ssize(ids));
}

template <Device D>
MatrixView<const float, D> Llama<D>::last_state(std::span<const int> ids, KvCache<D>& cache) {
  return run(ids, cache, 1);
}

template <Device D>
MatrixView<const float, D> Llama<D>::run(std::span<const int> ids, KvCache<D>& cache, index_t outputs) {
  const index_t tokens = std::ssize(ids);
  HACK_EXPECT(tokens > 0 && cache.length() + tokens <= cache.capacity());
  for (int id : ids) {
    validate(id >= 0 && id < config_.vocab_size,
             "token id {} is outside the vocabulary of {}; the tokenizer does not belong to this model", id,
             config_.vocab_size);
  }
  reserve(tokens);
  const MatrixView<float, D> x(stream_.data(), tokens, config_.hidden_size);
  kernels::embed(queue_, ids, embedding_.view(), plan_.vocabulary.begin, x);
  const MatrixView<const float, D> states = run_layers(x, cache.length(), cache, outputs);
  cache.advance(tokens);
  return states;
}

template <Device D>
void Llama<D>::reserve(index_t tokens) {
  if (stream_.size() >= tokens * config_.hidden_size) return;
  stream_ = {};  // the old buffers go before the larger ones come
  states_ = {};
  stream_ = Buffer<float, D>(tokens * config_.hidden_size);
  states_ = Buffer<float, D>(tokens * config_.hidden_size);
}

template <Device D>
MatrixView<const float, D> Llama<D>::run_layers(MatrixView<float, D> x, Position<D> position, KvCache<D>& cache,
                                                index_t outputs) {
  comm::all_reduce_sum<D>(tensor_, queue_, x);
  if (probe_) probe_(std::string("output of ") + embedding_name, x);
  const MatrixView<float, D> states(states_.data(), outputs, config_.hidden_size);
  MatrixView<const float, D> normed = runner_.attention_input(layers_.front(), x);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LlamaLayer<D>& layer = layers_[i];
    const auto number = static_cast<index_t>(i);
    const bool is_last = i + 1 == layers_.size();
    MatrixView<const float, D> mixed =
        runner_.attention_mix(layer, normed, plan_.kv_of_head, position, cache.keys(number), cache.values(number));
    probe(Side::input, number, Linear::o, mixed);
    if (is_last) {  // keys and values of all ids are in the cache
      mixed = mixed.rows_from(x.rows - outputs, outputs);
      x = x.rows_from(x.rows - outputs, outputs);
    }
    const auto input = runner_.add_attention_and_norm(layer, mixed, x);
    probe(Side::output, number, Linear::o, x);
    const auto inner = runner_.mlp_inner(layer, input);
    probe(Side::input, number, Linear::down, inner);
    if (is_last) {
      runner_.add_mlp_and_norm(layer, inner, x, final_norm_.data(), states);
    } else {
      normed = runner_.add_mlp_and_norm(layer, inner, x, layers_[i + 1][Norm::input].data());
    }
    probe(Side::output, number, Linear::down, x);
  }
  if constexpr (D == Device::cpu) stream_is_sound_ = is_sound(x);
  return states;
}

template <Device D>
void Llama<D>::step(const DecodeState* state, KvCache<D>& cache, MatrixView<float, D> out) {
  reserve(1);
  const MatrixView<float, D> x(stream_.data(), 1, config_.hidden_size);
  kernels::embed(queue_, state, embedding_.view(), plan_.vocabulary.begin, x);
  logits(run_layers(x, state, cache, 1), out);
}

template <Device D>
bool Llama<D>::can_replay() const {
  return D == Device::cuda && (tensor_.size() == 1 || tensor_.gpu() != nullptr);
}

template <Device D>
std::vector<float> Llama<D>::losses(MatrixView<const float, D> states, std::span<const int> targets) {
  const index_t tokens = std::ssize(targets);
  std::vector<kernels::PartialLoss> parts(tokens);
  {
    const PhaseTimer::Scope<D> timed(queue_, Phase::weights);
    kernels::partial_losses(queue_, states, head(), plan_.vocabulary.begin, targets, std::span(parts));
  }

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
std::vector<kernels::PartialDivergence> Llama<D>::divergences(const kernels::FinalStates<D>& reference,
                                                              MatrixView<const float, D> states) {
  const auto tokens = static_cast<std::size_t>(states.rows);
  std::vector<kernels::PartialDivergence> parts(tokens);
  kernels::partial_divergences(queue_, reference, {states, head()}, std::span(parts));

  std::vector<float> maxima(2 * tokens);  // of the reference, then of the states
  for (std::size_t t = 0; t < tokens; ++t) {
    maxima[t] = parts[t].reference_maximum;
    maxima[tokens + t] = parts[t].maximum;
  }
  comm::all_reduce_max(tensor_, std::span(maxima));
  std::vector<double> sums(3 * tokens);  // as in the parts, relative to the joint maxima
  std::vector<float> at_top(tokens);
  for (std::size_t t = 0; t < tokens; ++t) {
    const kernels::PartialDivergence mine =
        kernels::join(parts[t], {.reference_maximum = maxima[t], .maximum = maxima[tokens + t]});
    at_top[t] = mine.at_top;
    sums[t] = mine.reference_sum;
    sums[tokens + t] = mine.sum;
    sums[2 * tokens + t] = mine.gap;
  }
  comm::all_reduce_sum(tensor_, std::span(sums));
  comm::all_reduce_max(tensor_, std::span(at_top));
  for (std::size_t t = 0; t < tokens; ++t) {
    parts[t] = {maxima[t], maxima[tokens + t], at_top[t], sums[t], sums[tokens + t], sums[2 * tokens + t]};
  }
  return parts;
}

template <Device D>
std::vector<float> Llama<D>::logits(MatrixView<const float, D> state) {
  HACK_EXPECT(state.rows == 1);
  return all_logits(state)[0];
}

template <Device D>
std::vector<std::vector<float>> Llama<D>::all_logits(MatrixView<const float, D> states) {
  const index_t own = plan_.vocabulary.size();
  Buffer<float, D> part(states.rows * own);
  {
    const PhaseTimer::Scope<D> timed(queue_, Phase::weights);
    kernels::affine(queue_, states, head(), MatrixView<float, D>(part.data(), states.rows, own));
  }
  queue_.wait();
  std::vector<float> host(static_cast<std::size_t>(part.size()));
  kernels::copy_to_host<D>(host.data(), part.data(), part.bytes());
  std::vector<std::vector<float>> all;
  for (index_t t = 0; t < states.rows; ++t) {
    all.push_back(comm::gather<float>(tensor_, std::span(host).subspan(t * own, own)));
  }
  return all;
}

template <Device D>
void Llama<D>::logits(MatrixView<const float, D> state, MatrixView<float, D> out) {
  HACK_EXPECT(state.rows == 1 && out.rows == 1 && out.cols == config_.vocab_size);
  // Zeros where other ranks have theirs: the sum puts the shards together. A lone slice has nobody's.
  if (plan_.vocabulary.size() < config_.vocab_size) kernels::clear(queue_, out);
  kernels::affine(queue_, state, head(), out.block(0, plan_.vocabulary.begin, 1, plan_.vocabulary.size()));
  comm::all_reduce_sum<D>(tensor_, queue_, out);
}

template <Device D>
index_t Llama<D>::bytes_per_token() const {
  index_t bytes = head_bytes() + final_norm_.bytes();
  for (const LlamaLayer<D>& layer : layers_) bytes += layer.bytes();
  return bytes;
}

template <Device D>
index_t Llama<D>::numbers_per_token() const {
  index_t numbers = head_ ? head_->numbers() : embedding_.rows() * embedding_.cols();
  for (const LlamaLayer<D>& layer : layers_) numbers += layer.numbers();
  return numbers;
}

template <Device D>
index_t Llama<D>::last_state_bytes() const {
  const LlamaLayer<D>& last = layers_.back();
  index_t bytes = 0;
  for (const Linear linear : {Linear::o, Linear::gate, Linear::up, Linear::down}) bytes += last[linear].bytes();
  return bytes;
}

template <Device D>
index_t Llama<D>::bytes_held() const {
  return bytes_per_token() + (config_.tied_embeddings ? 0 : embedding_.bytes());
}

template class Llama<Device::cpu>;
template class Llama<Device::cuda>;

}  // namespace hack::model
