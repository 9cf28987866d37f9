#pragma once

#include <array>
#include <vector>

#include "model/checkpoint/layer_tensors.hpp"
#include "model/heal/training_linear.hpp"
#include "model/llama/shard_plan.hpp"

namespace hack::model {

/// One rank's shard of a decoder layer in training. Norms stay as they are.
template <Device D>
struct TrainingLayer {
  std::array<Buffer<float, D>, norm_count> norms;  ///< by Norm; empty where the model has none
  std::vector<TrainingLinear<D>> linears;          ///< by Linear: (own rows, own columns)

  TrainingLinear<D>& operator[](Linear linear) { return linears[index_of(linear)]; }
  const Buffer<float, D>& operator[](Norm norm) const { return norms[index_of(norm)]; }

  /// Makes the weights of trained matrices from their parameters; the layer can be used until close().
  void open(Queue<D>& queue);
  /// Lets go of the weights that open() made.
  void close();
  /// Whether the archive has a matrix of the layer, with parameters to train.
  bool is_trained();
};

/// Reads a layer for rank `own` of those that the plans are made for.
template <Device D>
TrainingLayer<D> read_training_layer(const WeightSource& source, const std::vector<ShardPlan>& plans, int own,
                                     index_t layer);

}  // namespace hack::model
