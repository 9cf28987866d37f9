#pragma once

#include "model/llama/linear_layer.hpp"
#include "model/llama/names.hpp"
#include "model/llama/shard_plan.hpp"

namespace hack::model {

/// One rank's shard of a decoder layer.
template <Device D>
struct LlamaLayer {
  Buffer<float, D> input_norm;           // (hidden)
  LinearLayer<D> q;                      // (own heads * head_dim, hidden)
  LinearLayer<D> k;                      // (own kv_heads * head_dim, hidden)
  LinearLayer<D> v;                      // (own kv_heads * head_dim, hidden)
  LinearLayer<D> o;                      // (hidden, own heads * head_dim)
  Buffer<float, D> post_attention_norm;  // (hidden)
  LinearLayer<D> gate;                   // (own intermediate, hidden)
  LinearLayer<D> up;                     // (own intermediate, hidden)
  LinearLayer<D> down;                   // (hidden, own intermediate)
};

template <Device D>
LinearLayer<D>& linear_of(LlamaLayer<D>& layer, Linear linear) {
  LinearLayer<D>* const linears[] = {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down};
  return *linears[index_of(linear)];
}

/// Reads what the plan says of one layer. `adds_bias`: whether this rank adds the biases of o and down, whose inputs
/// are split over ranks.
template <Device D>
LlamaLayer<D> read_layer(const WeightSource& source, const ShardPlan& plan, index_t layer, bool adds_bias);

}  // namespace hack::model
