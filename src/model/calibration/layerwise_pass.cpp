#include "model/calibration/layerwise_pass.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "io/byte_stream.hpp"
#include "kernels/copy.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/gradient.hpp"
#include "model/llama/names.hpp"

namespace hack::model {

std::string_view to_string(LinearInput input) {
  switch (input) {
    case LinearInput::attention:
      return "attention";
    case LinearInput::attention_output:
      return "attention-output";
    case LinearInput::mlp:
      return "mlp";
    case LinearInput::inner:
      return "inner";
    case LinearInput::head:
      return "head";
  }
  return "";
}

template <Device D>
LayerwisePass<D>::LayerwisePass(const comm::Communicator& comm, Queue<D>& queue, const CalibrationText& text,
                                const PassOptions& options)
    : checkpoint_(text.checkpoint),
      type_(options.type),
      token_power_(options.token_power),
      comm_(comm),
      queue_(queue),
      self_(comm::Communicator::self()),
      plan_(ShardPlan::make(checkpoint_.config(), nullptr, 1, 0)),
      cache_(1, checkpoint_.config().kv_heads, text.windows.context, checkpoint_.config().head_dim),
      dense_runner_(checkpoint_.config(), self_, queue),
      compressed_runner_(checkpoint_.config(), self_, queue),
      dense_(checkpoint_, options.type, queue, text.windows, comm) {
  check_length(checkpoint_.config(), text.windows.context);
  if (options.has_compressed) compressed_ = dense_.copy(queue);
}

template <Device D>
void LayerwisePass<D>::load(index_t layer) {
  dense_layer_.reset();
  compressed_layer_.reset();
  number_ = layer;
  dense_layer_ = read_layer(layer);
  if (compressed_) compressed_layer_ = read_layer(layer);
  is_dense_ahead_ = false;
  has_compressed_inner_ = false;
}

template <Device D>
void LayerwisePass<D>::load_head() {
  dense_layer_.reset();
  compressed_layer_.reset();
  final_norm_ = read_vector<D>(checkpoint_, final_norm_name, {0, dense_.hidden()});
}

template <Device D>
auto LayerwisePass<D>::read_layer(index_t layer) const -> Layer {
  return model::read_layer<D>({checkpoint_, nullptr, type_}, plan_, layer, true);
}

template <Device D>
void LayerwisePass<D>::run(const Layer& layer, Stream x) {
  dense_runner_.add_attention(layer, input_of(LinearInput::attention_output, dense_runner_, layer, x), x);
  dense_runner_.add_mlp(layer, input_of(LinearInput::inner, dense_runner_, layer, x), x);
}

template <Device D>
void LayerwisePass<D>::run_final_norm(Stream x) {
  kernels::rms_norm<D>(queue_, x, final_norm_.data(), checkpoint_.config().rms_norm_eps, x);
}

template <Device D>
auto LayerwisePass<D>::input_of(LinearInput input, Runner& runner, const Layer& layer, Input x) -> Input {
  switch (input) {
    case LinearInput::attention:
      return runner.attention_input(layer, x);
    case LinearInput::attention_output:
      return runner.attention_mix(layer, runner.attention_input(layer, x), plan_.kv_of_head, 0, cache_.keys(0),
                                  cache_.values(0));
    case LinearInput::mlp:
      return runner.mlp_input(layer, x);
    case LinearInput::inner:
      return runner.mlp_inner(layer, runner.mlp_input(layer, x));
    case LinearInput::head:
      break;  // of no layer
  }
  return {};
}

template <Device D>
index_t LayerwisePass<D>::input_size(LinearInput input) const {
  const LlamaConfig& config = checkpoint_.config();
  switch (input) {
    case LinearInput::attention_output:
      return config.heads * config.head_dim;
    case LinearInput::inner:
      return config.intermediate_size;
    default:
      return config.hidden_size;
  }
}

template <Device D>
std::string LayerwisePass<D>::taker_of(LinearInput input) const {
  for (const Linear linear : all_linears) {
    if (linear_input(linear) == input) return weight_name(number_, linear);
  }
  return head_weights(checkpoint_.config());
}

template <Device D>
svd::InputStatistics LayerwisePass<D>::statistics(LinearInput input, bool with_cross) {
  const bool is_inner = input == LinearInput::inner;
  const auto input_from = [&](Runner& runner, const std::optional<Layer>& layer, Input x) {
    return input == LinearInput::head ? runner.head_input(final_norm_.data(), x) : input_of(input, runner, *layer, x);
  };
  auto cross = svd::Cross::none;
  if (with_cross && compressed_) cross = is_inner ? svd::Cross::outputs : svd::Cross::inputs;
  svd::InputSums<D> sums(queue_, input_size(input), cross, dense_.hidden());
  // The dense stream's way past the MLP begins with what down multiplies: once that is known it goes on at once.
  const bool takes_dense_along = is_inner && !is_dense_ahead_;
  const bool needs_dense = !compressed_ || cross != svd::Cross::none || takes_dense_along;
  for (index_t w = 0; w < dense_.count(); ++w) {
    Input dense, compressed;
    if (needs_dense) dense = input_from(dense_runner_, dense_layer_, dense_.window(w));
    compressed = compressed_ ? input_from(compressed_runner_, compressed_layer_, compressed_->window(w)) : dense;
    if (compressed_ && is_inner) kernels::copy<D>(queue_, compressed, compressed_inner(w));
    if (takes_dense_along || cross == svd::Cross::outputs) dense = product_of_down(dense);
    if (takes_dense_along) {
      kernels::add<D>(queue_, dense, dense_.window(w));
      (*dense_layer_)[Linear::down].add_bias(queue_, dense_.window(w));
    }
    sums.add(compressed, dense, weights_of(dense_.window(w)));
  }
  if (takes_dense_along) is_dense_ahead_ = true;
  if (compressed_ && is_inner) has_compressed_inner_ = true;
  svd::InputStatistics statistics = sums.finish(comm_);
  for (index_t i = 0; i < statistics.h().rows; ++i) {  // NaN and infinity of a row reach the diagonal
    validate(std::isfinite(statistics.h()(i, i)),
             "number {} of the input of {} is NaN or infinite for a token of the calibration text; the weights in "
             "front of it are too large: look at the model",
             i, taker_of(input));
  }
  return statistics;
}

template <Device D>
auto LayerwisePass<D>::product_of_down(Input inner) -> Stream {
  const index_t hidden = dense_.hidden();
  if (product_.size() < inner.rows * hidden) product_ = Buffer<float, D>(inner.rows * hidden);
  const Stream product(product_.data(), inner.rows, hidden);
  (*dense_layer_)[Linear::down].multiply(queue_, inner, product);
  return product;
}

template <Device D>
auto LayerwisePass<D>::compressed_inner(index_t w) -> Stream {
  const index_t intermediate = input_size(LinearInput::inner), size = compressed_->context() * intermediate;
  if (compressed_inner_.size() < size * compressed_->count())
    compressed_inner_ = Buffer<float, D>(size * compressed_->count());
  return {compressed_inner_.data() + w * size, compressed_->context(), intermediate};
}

template <Device D>
void LayerwisePass<D>::replace(Linear linear, MatrixView<const float> values) {
  if (!compressed_) return;
  if (linear_input(linear) != LinearInput::inner) has_compressed_inner_ = false;
  HACK_EXPECT(values.ld == values.cols);
  WeightMatrix<D> weights(values.rows, values.cols, DType::f32);
  queue_.wait();  // the weights before have been read
  kernels::copy_from_host<D>(weights.data(), values.data, static_cast<std::size_t>(weights.bytes()));
  (*compressed_layer_)[linear].replace(std::move(weights));
}

template <Device D>
void LayerwisePass<D>::advance_attention(Runner& runner, const Layer& layer, ActivationStream<D>& stream) {
  for (index_t w = 0; w < stream.count(); ++w) {
    runner.add_attention(layer, input_of(LinearInput::attention_output, runner, layer, stream.window(w)),
                         stream.window(w));
  }
}

template <Device D>
void LayerwisePass<D>::advance_attention() {
  advance_attention(dense_runner_, *dense_layer_, dense_);
  if (compressed_) advance_attention(compressed_runner_, *compressed_layer_, *compressed_);
}

template <Device D>
void LayerwisePass<D>::advance_mlp(Runner& runner, const Layer& layer, ActivationStream<D>& stream) {
  for (index_t w = 0; w < stream.count(); ++w) {
    runner.add_mlp(layer, input_of(LinearInput::inner, runner, layer, stream.window(w)), stream.window(w));
  }
}

template <Device D>
void LayerwisePass<D>::advance_dense_mlp() {
  if (!is_dense_ahead_) advance_mlp(dense_runner_, *dense_layer_, dense_);
  is_dense_ahead_ = true;
}

template <Device D>
void LayerwisePass<D>::advance_mlp() {
  advance_dense_mlp();
  if (!compressed_) return;
  if (!has_compressed_inner_) return advance_mlp(compressed_runner_, *compressed_layer_, *compressed_);
  for (index_t w = 0; w < compressed_->count(); ++w)
    compressed_runner_.add_mlp(*compressed_layer_, compressed_inner(w), compressed_->window(w));
}

template <Device D>
Buffer<float> LayerwisePass<D>::mlp_inputs() {
  HACK_EXPECT(compressed_.has_value());
  Buffer<float> out(compressed_->tokens().rows * compressed_->hidden());
  for (index_t w = 0; w < compressed_->count(); ++w) {
    const Input input = compressed_runner_.mlp_input(*compressed_layer_, compressed_->window(w));
    const index_t size = input.rows * input.cols;
    const HostView<float, D> here(queue_, input.data, size);
    std::copy_n(here.data(), size, out.data() + w * size);
  }
  return out;
}

template <Device D>
Buffer<float> LayerwisePass<D>::mlp_targets() const {
  HACK_EXPECT(compressed_.has_value() && is_dense_ahead_);
  const std::vector<HostView<float, D>> streams = state();
  const float* dense = streams[0].data();
  const float* compressed = streams[1].data();
  Buffer<float> out(dense_.tokens().rows * dense_.hidden());
  for (index_t i = 0; i < out.size(); ++i) out.data()[i] = dense[i] - compressed[i];
  return out;
}

template <Device D>
std::vector<float> LayerwisePass<D>::token_weights() {
  HACK_EXPECT(is_dense_ahead_);
  std::vector<float> weights;
  for (index_t w = 0; w < dense_.count(); ++w) {
    const std::vector<float> of_window = weights_of(dense_.window(w));
    weights.insert(weights.end(), of_window.begin(), of_window.end());
  }
  return weights;
}

/// The squares of x, as the error of outputs that are all zero; the error itself is of no use.
template <Device D>
std::vector<float> LayerwisePass<D>::weights_of(Input x) const {
  std::vector<float> weights;
  if (token_power_ == 0 || x.rows == 0) return weights;
  Buffer<float, D> zeros(x.rows * x.cols), squares(x.rows);
  const Stream error(zeros.data(), x.rows, x.cols);
  kernels::clear<D>(queue_, error);
  kernels::output_error<D>(queue_, x, nullptr, 1, error, squares.data());
  const HostView<float, D> here(queue_, squares.data(), squares.size());
  for (const float square : here.span()) {
    const double mean = static_cast<double>(square) / static_cast<double>(x.cols) + checkpoint_.config().rms_norm_eps;
    weights.push_back(static_cast<float>(std::pow(mean, -token_power_)));
  }
  return weights;
}

template <Device D>
std::vector<HostView<float, D>> LayerwisePass<D>::state() const {
  std::vector<HostView<float, D>> streams;
  const auto add = [&](Input x) { streams.emplace_back(queue_, x.data, x.rows * x.cols); };
  add(dense_.tokens());
  if (compressed_) add(std::as_const(*compressed_).tokens());
  return streams;
}

template <Device D>
void LayerwisePass<D>::restore(const std::string& state) {
  io::ByteReader bytes(state);
  const auto take = [&](Stream x) {
    Buffer<float> host(x.rows * x.cols);
    bytes.copy(host.data(), static_cast<std::size_t>(host.bytes()));
    kernels::copy_from_host<D>(x.data, host.data(), static_cast<std::size_t>(host.bytes()));
  };
  queue_.wait();
  take(dense_.tokens());
  if (compressed_) take(compressed_->tokens());
  validate(bytes.at_end(), "a state of {} bytes is longer than the streams", state.size());
}

template class LayerwisePass<Device::cpu>;
template class LayerwisePass<Device::cuda>;

}  // namespace hack::model
