#pragma once

#include "model/llama/linear_layer.hpp"
#include "model/llama/shard_plan.hpp"
#include "svd/archive/factor_source.hpp"

namespace hack::model {

/// What is trained, and by which rank.
struct HealShape {
  const Checkpoint& checkpoint;
  const svd::FactorSource& archive;
  HeldType type;  ///< what the dense model's weights are held in
  index_t window = 1024;
  int threads = 1;
  Slice slice;
};

/// Memory of one rank in training, in bytes, by the formula in the folder's README.
struct HealMemory {
  double dense = 0;        ///< the dense model, its cache and its working memory
  double compressed = 0;   ///< stored terms, embedding, and in f32 the head and matrices that are not compressed
  double parameters = 0;   ///< masters, gradients, moments and the best state
  double layer = 0;        ///< numbers and factors of the open layer, and gradients of one matrix
  double activations = 0;  ///< inputs of all layers, one layer's numbers, logits, and the working memory of kernels

  double total() const { return dense + compressed + parameters + layer + activations; }
};

/// What a rank needs beside the program itself.
HealMemory heal_memory(const HealShape& shape);

}  // namespace hack::model
