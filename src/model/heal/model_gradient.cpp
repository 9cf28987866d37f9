#include "model/heal/model_gradient.hpp"

#include <algorithm>
#include <string>

#include "comm/collectives.hpp"
#include "kernels/copy.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/error.hpp"
#include "model/llama/chunk.hpp"
#include "model/llama/embedding_table.hpp"
#include "model/llama/names.hpp"
#include "svd/archive/dense_rows.hpp"

namespace hack::model {
namespace {

std::vector<ShardPlan> plans_of(const LlamaConfig& config, const svd::FactorSource& archive, int parts) {
  std::vector<ShardPlan> plans;
  plans.reserve(static_cast<std::size_t>(parts));
  for (int part = 0; part < parts; ++part) plans.push_back(ShardPlan::make(config, &archive, parts, part));
  return plans;
}

/// Rows of a compressed matrix, multiplied out.
template <Device D>
WeightMatrix<D> read_dense_rows(const svd::FactorSource& archive, const std::string& name, svd::Range rows,
                                int threads) {
  Queue<Device::cpu> queue(threads);
  svd::DenseRows dense(archive, name, queue);
  const index_t cols = dense.grid().cols();
  WeightMatrix<D> out(rows.size(), cols, DType::f32);
  Buffer<float> panel(dense.grid().tile_height() * cols);
  for (index_t i = 0; i < dense.grid().tile_rows(); ++i) {
    const svd::Tile first = dense.grid().tile(i, 0);
    const svd::Range own = svd::intersect(rows, {first.row, first.row + first.height});
    if (own.size() == 0) continue;
    dense.read(i, {panel.data(), first.height, cols});
    kernels::copy_from_host<D>(reinterpret_cast<float*>(out.data()) + (own.begin - rows.begin) * cols,
                               panel.data() + (own.begin - first.row) * cols,
                               static_cast<std::size_t>(own.size() * cols) * sizeof(float));
  }
  return out;
}

template <Device D>
MatrixView<const float, D> numbers_of(WeightMatrix<D>& matrix) {
  return {reinterpret_cast<const float*>(matrix.data()), matrix.rows(), matrix.cols()};
}

/// The numbers of the compressed model's head, (rows, hidden) in f32.
template <Device D>
WeightMatrix<D> read_head(const Checkpoint& checkpoint, const svd::FactorSource& archive, svd::Range rows,
                          int threads) {
  const std::string name = head_weights(checkpoint.config());
  if (archive.contains(name)) return read_dense_rows<D>(archive, name, rows, threads);
  return read_weights<D>(checkpoint, name, rows, {0, checkpoint.config().hidden_size}, DType::f32);
}

/// The config, if its attention is one that is differentiated: over all tokens before, by the plain scale.
const LlamaConfig& differentiable(const LlamaConfig& config, index_t window) {
  validate(
      config.sliding_window == 0 || config.sliding_window >= window,
      "training takes attention over whole windows ({} tokens, and the model's attention sees {}); take windows of "
      "at most as many",
      window, config.sliding_window);
  validate(
      score_factor(config) == 1,
      "the model multiplies its attention's scores by {} (RoPE scaling of type yarn), which training does not know; "
      "train a model without it",
      score_factor(config));
  return config;
}

}  // namespace

template <Device D>
ModelGradient<D>::ModelGradient(const Checkpoint& checkpoint, const svd::FactorSource& archive,
                                const comm::Communicator& tensor, Queue<D>& queue, const GradientOptions& options)
    : config_(differentiable(checkpoint.config(), options.window)),
      tensor_(tensor),
      queue_(queue),
      options_(options),
      dense_({checkpoint, nullptr, options.type}, tensor, queue),
      cache_(dense_.make_cache(options.window)),
      plans_(plans_of(config_, archive, tensor.size())),
      embedding_(read_embedding<D>({checkpoint, &archive, options.type}, dense_.plan().vocabulary)),
      head_(read_head<D>(checkpoint, archive, dense_.plan().vocabulary, queue.threads())),
      final_norm_(read_vector<D>(checkpoint, final_norm_name, {0, config_.hidden_size})),
      layer_gradient_(config_, plans_[static_cast<std::size_t>(tensor.rank())], tensor, queue, options.window,
                      options.products),
      head_gradient_(tensor, queue, numbers_of(head_), options.products),
      inputs_(static_cast<std::size_t>(config_.layers) + 1) {
  const WeightSource source{checkpoint, &archive, options.type};
  for (index_t layer = 0; layer < config_.layers; ++layer) {
    layers_.push_back(read_training_layer<D>(source, plans_, tensor.rank(), layer));
  }
  lowest_ = layers_.size();
  for (std::size_t layer = layers_.size(); layer-- > 0;) {
    if (layers_[layer].is_trained()) lowest_ = layer;
  }
  for (TrainingLayer<D>& layer : layers_) {
    for (TrainingLinear<D>& linear : layer.linears) {
      if (linear.trained() != nullptr) matrices_.push_back(linear.trained());
    }
  }
  for (Buffer<float, D>* buffer : {&dense_states_, &states_, &gradient_, &dx_}) {
    *buffer = Buffer<float, D>(options.window * config_.hidden_size);
  }
}

template <Device D>
auto ModelGradient<D>::kept(std::size_t layer, index_t tokens) -> Stream {
  if (inputs_[layer].size() == 0) inputs_[layer] = Buffer<float, D>(options_.window * config_.hidden_size);
  return {inputs_[layer].data(), tokens, config_.hidden_size};
}

template <Device D>
auto ModelGradient<D>::run_dense(std::span<const int> ids) -> Stream {
  const Stream states(dense_states_.data(), std::ssize(ids), config_.hidden_size);
  cache_.clear();
  for (index_t begin = 0; begin < states.rows; begin += chunk_tokens) {
    const index_t tokens = std::min(chunk_tokens, states.rows - begin);
    const auto part =
        dense_.forward(ids.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(tokens)), cache_);
    kernels::copy<D, float>(queue_, part, states.rows_from(begin, tokens));
  }
  return states;
}

template <Device D>
auto ModelGradient<D>::run_layers(std::span<const int> ids, bool keeps_inputs) -> Stream {
  const index_t tokens = std::ssize(ids);
  Stream x = kept(0, tokens);
  kernels::embed<D>(queue_, ids, embedding_.view(), dense_.plan().vocabulary.begin, x);
  comm::all_reduce_sum<D>(tensor_, queue_, x);
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    if (keeps_inputs && layer >= lowest_) {
      const Stream behind = kept(layer + 1, tokens);
      kernels::copy<D, float>(queue_, x, behind);
      // `x` stays as the layer's input.
      if (layer == lowest_ && layer > 0) kernels::copy<D, float>(queue_, behind, kept(layer, tokens));
      x = behind;
    }
    layers_[layer].open(queue_);
    layer_gradient_.forward(layers_[layer], x);
    layers_[layer].close();
  }
  return x;
}

template <Device D>
double ModelGradient<D>::divergence(std::span<const int> ids) {
  const Stream reference = run_dense(ids);
  const Stream x = run_layers(ids, false);
  const Stream states(states_.data(), x.rows, x.cols);
  kernels::rms_norm<D>(queue_, x, final_norm_.data(), config_.rms_norm_eps, states);
  return head_gradient_.run({reference, dense_.head()}, states, 1, {});
}

template <Device D>
double ModelGradient<D>::differentiate(std::span<const int> ids, float factor) {
  const Stream reference = run_dense(ids);
  const Stream x = run_layers(ids, true);
  const Stream states(states_.data(), x.rows, x.cols), gradient(gradient_.data(), x.rows, x.cols);
  const Stream dx(dx_.data(), x.rows, x.cols);
  kernels::rms_norm<D>(queue_, x, final_norm_.data(), config_.rms_norm_eps, states);
  const double sum = head_gradient_.run({reference, dense_.head()}, states, factor, gradient);
  kernels::clear<D>(queue_, dx);
  kernels::rms_norm_gradient<D>(queue_, gradient, x, final_norm_.data(), config_.rms_norm_eps, dx);
  for (std::size_t layer = layers_.size(); layer-- > lowest_;) {
    layers_[layer].open(queue_);
    layer_gradient_.backward(layers_[layer], kept(layer, x.rows), dx, layer == lowest_);
    layers_[layer].close();
  }
  return sum;
}

template class ModelGradient<Device::cpu>;
template class ModelGradient<Device::cuda>;

}  // namespace hack::model
