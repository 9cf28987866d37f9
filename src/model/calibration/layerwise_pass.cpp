#include "model/calibration/layerwise_pass.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "comm/byte_stream.hpp"
#include "kernels/elementwise.hpp"

namespace hack::model {

std::string_view to_string(LinearInput input) {
  switch (input) {
    case LinearInput::attention:
      return "attention";
    case LinearInput::mix:
      return "mix";
    case LinearInput::mlp:
      return "mlp";
    case LinearInput::inner:
      return "inner";
  }
  return "";
}

LayerwisePass::LayerwisePass(const Checkpoint& checkpoint, DType type, const comm::Communicator& comm,
                             Queue<Device::cpu>& queue, const TokenWindows& windows, bool two_streams,
                             double token_power)
    : checkpoint_(checkpoint),
      type_(type),
      token_power_(token_power),
      comm_(comm),
      queue_(queue),
      self_(comm::Communicator::self()),
      plan_(ShardPlan::make(checkpoint.config(), nullptr, 1, 0)),
      cache_(1, checkpoint.config().kv_heads, windows.context, checkpoint.config().head_dim),
      dense_runner_(checkpoint.config(), self_, queue),
      met_runner_(checkpoint.config(), self_, queue),
      dense_(checkpoint, type, queue, windows, comm) {
  if (two_streams) met_ = dense_.copy();
}

void LayerwisePass::load(index_t layer) {
  dense_layer_.reset();
  met_layer_.reset();
  dense_layer_ = read_layer(layer);
  if (met_) met_layer_ = read_layer(layer);
  is_dense_ahead_ = false;
  has_met_inner_ = false;
}

LlamaLayer<Device::cpu> LayerwisePass::read_layer(index_t layer) const {
  return model::read_layer<Device::cpu>({checkpoint_, nullptr, type_}, plan_, layer, true);
}

void LayerwisePass::run(const Layer& layer, MatrixView<float> x) {
  dense_runner_.add_attention(layer, input_of(LinearInput::mix, dense_runner_, layer, x), x);
  dense_runner_.add_mlp(layer, input_of(LinearInput::inner, dense_runner_, layer, x), x);
}

MatrixView<const float> LayerwisePass::input_of(LinearInput input, Runner& runner, const Layer& layer,
                                                MatrixView<const float> x) {
  switch (input) {
    case LinearInput::attention:
      return runner.attention_input(layer, x);
    case LinearInput::mix:
      return runner.attention_mix(layer, runner.attention_input(layer, x), plan_.kv_of_head, 0, cache_.keys(0),
                                  cache_.values(0));
    case LinearInput::mlp:
      return runner.mlp_input(layer, x);
    case LinearInput::inner:
      return runner.mlp_inner(layer, runner.mlp_input(layer, x));
  }
  return {};
}

index_t LayerwisePass::input_size(LinearInput input) const {
  const LlamaConfig& config = checkpoint_.config();
  switch (input) {
    case LinearInput::mix:
      return config.heads * config.head_dim;
    case LinearInput::inner:
      return config.intermediate_size;
    default:
      return config.hidden_size;
  }
}

svd::InputStatistics LayerwisePass::statistics(LinearInput input, bool with_cross) {
  const bool is_inner = input == LinearInput::inner;
  auto cross = svd::Cross::none;
  if (with_cross && met_) cross = is_inner ? svd::Cross::outputs : svd::Cross::inputs;
  svd::InputStatistics statistics(input_size(input), cross, dense_.hidden());
  // The dense stream's way past the MLP begins with what down multiplies: once that is known it goes on at once.
  const bool takes_dense_along = is_inner && !is_dense_ahead_;
  const bool needs_dense = !met_ || cross != svd::Cross::none || takes_dense_along;
  for (index_t w = 0; w < dense_.count(); ++w) {
    MatrixView<const float> dense, met;
    if (needs_dense) dense = input_of(input, dense_runner_, *dense_layer_, dense_.window(w));
    met = met_ ? input_of(input, met_runner_, *met_layer_, met_->window(w)) : dense;
    if (met_ && is_inner) keep_met_inner(w, met);
    if (takes_dense_along || cross == svd::Cross::outputs) dense = product_of_down(dense);
    if (takes_dense_along) {
      kernels::add<Device::cpu>(queue_, dense, dense_.window(w));
      dense_layer_->down.add_bias(queue_, dense_.window(w));
    }
    statistics.add(queue_, met, dense, weights_of(dense_.window(w)));
  }
  if (takes_dense_along) is_dense_ahead_ = true;
  if (met_ && is_inner) has_met_inner_ = true;
  statistics.finish(comm_);
  return statistics;
}

MatrixView<const float> LayerwisePass::product_of_down(MatrixView<const float> inner) {
  const index_t hidden = dense_.hidden();
  if (product_.size() < inner.rows * hidden) product_ = Buffer<float>(inner.rows * hidden);
  const MatrixView<float> product(product_.data(), inner.rows, hidden);
  dense_layer_->down.multiply(queue_, inner, product);
  return product;
}

void LayerwisePass::keep_met_inner(index_t w, MatrixView<const float> inner) {
  const index_t size = inner.rows * inner.cols;
  if (met_inner_.size() < size * met_->count()) met_inner_ = Buffer<float>(size * met_->count());
  std::copy_n(inner.data, size, met_inner_.data() + w * size);
}

void LayerwisePass::replace(std::size_t linear, MatrixView<const float> values) {
  if (!met_) return;
  if (linear_inputs[linear] != LinearInput::inner) has_met_inner_ = false;
  WeightMatrix<> weights(values.rows, values.cols, DType::f32);
  std::copy_n(values.data, values.rows * values.cols, reinterpret_cast<float*>(weights.data()));
  linear_of(*met_layer_, linear).replace(std::move(weights));
}

void LayerwisePass::advance_attention(Runner& runner, const Layer& layer, ActivationStream& stream) {
  for (index_t w = 0; w < stream.count(); ++w) {
    runner.add_attention(layer, input_of(LinearInput::mix, runner, layer, stream.window(w)), stream.window(w));
  }
}

void LayerwisePass::advance_attention() {
  advance_attention(dense_runner_, *dense_layer_, dense_);
  if (met_) advance_attention(met_runner_, *met_layer_, *met_);
}

void LayerwisePass::advance_mlp(Runner& runner, const Layer& layer, ActivationStream& stream) {
  for (index_t w = 0; w < stream.count(); ++w) {
    runner.add_mlp(layer, input_of(LinearInput::inner, runner, layer, stream.window(w)), stream.window(w));
  }
}

void LayerwisePass::advance_dense_mlp() {
  if (!is_dense_ahead_) advance_mlp(dense_runner_, *dense_layer_, dense_);
  is_dense_ahead_ = true;
}

void LayerwisePass::advance_mlp() {
  advance_dense_mlp();
  if (!met_) return;
  if (!has_met_inner_) return advance_mlp(met_runner_, *met_layer_, *met_);
  const index_t intermediate = checkpoint_.config().intermediate_size;
  for (index_t w = 0; w < met_->count(); ++w) {
    const MatrixView<const float> inner(met_inner_.data() + w * met_->context() * intermediate, met_->context(),
                                        intermediate);
    met_runner_.add_mlp(*met_layer_, inner, met_->window(w));
  }
}

Buffer<float> LayerwisePass::mlp_inputs() {
  HACK_EXPECT(met_.has_value());
  Buffer<float> out(met_->tokens().rows * met_->hidden());
  for (index_t w = 0; w < met_->count(); ++w) {
    const MatrixView<const float> input = met_runner_.mlp_input(*met_layer_, met_->window(w));
    std::copy_n(input.data, input.rows * input.cols, out.data() + w * input.rows * input.cols);
  }
  return out;
}

Buffer<float> LayerwisePass::mlp_targets() const {
  HACK_EXPECT(met_.has_value() && is_dense_ahead_);
  const MatrixView<const float> dense = dense_.tokens();
  const MatrixView<const float> met = met_->tokens();
  Buffer<float> out(dense.rows * dense.cols);
  for (index_t i = 0; i < out.size(); ++i) out.data()[i] = dense.data[i] - met.data[i];
  return out;
}

std::vector<float> LayerwisePass::token_weights() const {
  HACK_EXPECT(is_dense_ahead_);
  return weights_of(dense_.tokens());
}

std::vector<float> LayerwisePass::weights_of(MatrixView<const float> x) const {
  std::vector<float> weights;
  if (token_power_ == 0) return weights;
  for (index_t t = 0; t < x.rows; ++t) {
    double sum = 0;
    for (index_t j = 0; j < x.cols; ++j) sum += static_cast<double>(x(t, j)) * x(t, j);
    const double mean = sum / static_cast<double>(x.cols) + checkpoint_.config().rms_norm_eps;
    weights.push_back(static_cast<float>(std::pow(mean, -token_power_)));
  }
  return weights;
}

std::vector<std::span<const std::byte>> LayerwisePass::state() const {
  std::vector<std::span<const std::byte>> pieces;
  const auto add = [&](MatrixView<const float> x) {
    pieces.push_back(std::as_bytes(std::span(x.data, static_cast<std::size_t>(x.rows * x.cols))));
  };
  add(dense_.tokens());
  if (met_) add(std::as_const(*met_).tokens());
  return pieces;
}

void LayerwisePass::restore(const std::string& state) {
  comm::ByteReader bytes(state);
  const auto take = [&](MatrixView<float> x) {
    bytes.copy(x.data, static_cast<std::size_t>(x.rows * x.cols) * sizeof(float));
  };
  take(dense_.tokens());
  if (met_) take(met_->tokens());
}

}  // namespace hack::model
