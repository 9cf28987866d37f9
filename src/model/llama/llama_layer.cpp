#include "model/llama/llama_layer.hpp"

#include "model/llama/names.hpp"

namespace hack::model {

template <Device D>
index_t LlamaLayer<D>::bytes() const {
  index_t bytes = 0;
  for (const Buffer<float, D>& norm : norms) bytes += norm.bytes();
  for (const LinearLayer<D>& linear : linears) bytes += linear.bytes();
  return bytes;
}

template <Device D>
index_t LlamaLayer<D>::numbers() const {
  index_t numbers = 0;
  for (const LinearLayer<D>& linear : linears) numbers += linear.numbers();
  return numbers;
}

template <Device D>
LlamaLayer<D> read_layer(const WeightSource& source, const ShardPlan& plan, index_t layer, bool adds_bias) {
  const LlamaConfig& config = source.checkpoint.config();
  LlamaLayer<D> out;
  out.window = window_of(config, layer);
  for (const LayerTensor& tensor : layer_tensors) {
    if (!tensor.has_weight(config)) continue;
    const std::string name = layer_prefix(layer) + std::string(tensor.path);
    const svd::Range rows = plan.own(tensor.rows, config, layer);
    const svd::Range cols = plan.own(tensor.cols, config, layer);
    if (const Norm* norm = std::get_if<Norm>(&tensor.which)) {
      out.norms[index_of(*norm)] = read_vector<D>(source.checkpoint, name + ".weight", cols);
      continue;
    }
    // Linear layers stand in the table in the order of the enumeration.
    HACK_EXPECT(std::get<Linear>(tensor.which) == static_cast<Linear>(out.linears.size()));
    const bool is_whole_sum = !row_of(tensor.cols).is_cut;
    out.linears.emplace_back(source, name, rows, cols, tensor.has_bias(config) && (is_whole_sum || adds_bias));
  }
  return out;
}

template struct LlamaLayer<Device::cpu>;
template struct LlamaLayer<Device::cuda>;
template LlamaLayer<Device::cpu> read_layer(const WeightSource&, const ShardPlan&, index_t, bool);
template LlamaLayer<Device::cuda> read_layer(const WeightSource&, const ShardPlan&, index_t, bool);

}  // namespace hack::model
