#pragma once

#include <optional>

#include "kernels/codec.hpp"
#include "model/checkpoint/checkpoint.hpp"

namespace hack::model {

/// How a model is held and run.
struct RunShape {
  DType type = DType::bf16;            ///< of weights
  const Checkpoint* stored = nullptr;  ///< its matrices are held as it stores them, in place of `type`; may be null
  /// Stored bytes of the MLP's terms over those of 16-bit numbers; nothing: the MLP is dense.
  std::optional<double> mlp_keep = {};
  Codec factors = Codec::bf16;  ///< as they are stored: what has scales is held so, other numbers in `type`
  index_t context = 2048;       ///< tokens in the cache
  int threads = 1;
};

/// Memory of one rank, in bytes.
struct MemoryNeed {
  double weights = 0;
  double mlp = 0;          ///< of these the MLP's
  double cache = 0;        ///< keys and values
  double activations = 0;  ///< of a chunk of 512 tokens, with the working memory of kernels and collectives
  double loading = 0;      ///< a matrix on its way in; gone when activations come

  double total() const { return weights + cache + (activations > loading ? activations : loading); }
};

/// What rank `rank` of `tensor` ranks that share a model needs beside the program itself.
MemoryNeed memory_need(const LlamaConfig& config, const RunShape& run, int tensor, int rank);

/// The most that one of them needs.
MemoryNeed largest_need(const LlamaConfig& config, const RunShape& run, int tensor);

}  // namespace hack::model
