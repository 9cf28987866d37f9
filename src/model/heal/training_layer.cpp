#include "model/heal/training_layer.hpp"

#include <algorithm>

#include "model/llama/names.hpp"

namespace hack::model {

template <Device D>
void TrainingLayer<D>::open(Queue<D>& queue) {
  for (TrainingLinear<D>& linear : linears) linear.open(queue);
}

template <Device D>
void TrainingLayer<D>::close() {
  for (TrainingLinear<D>& linear : linears) linear.close();
}

template <Device D>
bool TrainingLayer<D>::is_trained() {
  return std::ranges::any_of(linears, [](TrainingLinear<D>& linear) { return linear.trained() != nullptr; });
}

template <Device D>
TrainingLayer<D> read_training_layer(const WeightSource& source, const std::vector<ShardPlan>& plans, int own,
                                     index_t layer) {
  const LlamaConfig& config = source.checkpoint.config();
  TrainingLayer<D> out;
  for (const LayerTensor& tensor : layer_tensors) {
    if (!tensor.has_weight(config)) continue;
    const std::string name = layer_prefix(layer) + std::string(tensor.path);
    if (const Norm* norm = std::get_if<Norm>(&tensor.which)) {
      const svd::Range cols = plans[static_cast<std::size_t>(own)].own(tensor.cols, config, layer);
      out.norms[index_of(*norm)] = read_vector<D>(source.checkpoint, name + ".weight", cols);
      continue;
    }
    svd::MatrixCut cut{{}, own};
    for (const ShardPlan& plan : plans) {
      cut.blocks.push_back({plan.own(tensor.rows, config, layer), plan.own(tensor.cols, config, layer)});
    }
    // Where inputs are cut over ranks, one of them adds the bias.
    const bool is_whole_sum = !row_of(tensor.cols).is_cut;
    out.linears.emplace_back(source, name, cut, tensor.has_bias(config) && (is_whole_sum || own == 0));
  }
  return out;
}

template struct TrainingLayer<Device::cpu>;
template struct TrainingLayer<Device::cuda>;
template TrainingLayer<Device::cpu> read_training_layer(const WeightSource&, const std::vector<ShardPlan>&, int,
                                                        index_t);
template TrainingLayer<Device::cuda> read_training_layer(const WeightSource&, const std::vector<ShardPlan>&, int,
                                                         index_t);

}  // namespace hack::model
