#pragma once

#include <array>
#include <vector>

#include "model/checkpoint/layer_tensors.hpp"
#include "model/llama/linear_layer.hpp"
#include "model/llama/shard_plan.hpp"

namespace hack::model {

/// One rank's shard of a decoder layer: the tensors of `layer_tensors`.
template <Device D>
struct LlamaLayer {
  std::array<Buffer<float, D>, norm_count> norms;  ///< by Norm; empty where the model has none
  std::vector<LinearLayer<D>> linears;             ///< by Linear: (own rows, own columns)
  index_t window = 0;                              ///< positions that its attention sees; 0: all

  LinearLayer<D>& operator[](Linear linear) { return linears[index_of(linear)]; }
  const LinearLayer<D>& operator[](Linear linear) const { return linears[index_of(linear)]; }
  const Buffer<float, D>& operator[](Norm norm) const { return norms[index_of(norm)]; }

  /// Bytes of weights read by one decoded token.
  index_t bytes() const;
  /// Numbers of its matrices: each is multiplied once for every token.
  index_t numbers() const;
};

/// Reads what the plan says of one layer. `adds_bias`: whether this rank adds the biases of layers whose inputs are cut
/// over ranks (o and down).
template <Device D>
LlamaLayer<D> read_layer(const WeightSource& source, const ShardPlan& plan, index_t layer, bool adds_bias);

}  // namespace hack::model
