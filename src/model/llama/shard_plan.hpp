#pragma once

#include <span>
#include <vector>

#include "model/checkpoint/layer_tensors.hpp"
#include "svd/archive/factor_source.hpp"
#include "svd/tile/range.hpp"

namespace hack::model {

/// One rank's part of a model that is cut for `parts` tensor-parallel ranks.
struct Slice {
  int part = 0;  ///< from 0
  int parts = 1;
};

/// What one of P tensor-parallel ranks holds. Each layer's MLP is cut along the intermediate dimension (rows of gate
/// and up, columns of down), so one all-reduce after down completes it; attention is cut by heads, the vocabulary by
/// rows, the same of embedding and head.
struct ShardPlan {
  svd::Range heads;                      ///< query heads
  svd::Range kv_heads;                   ///< key/value heads those query heads read; neighbours may hold the same ones
  std::vector<int> kv_of_head;           ///< for each own query head the index of its key/value head among kv_heads
  svd::Range vocabulary;                 ///< token ids
  std::vector<svd::Range> intermediate;  ///< one per layer

  /// Rank `rank` of `parts`. MLPs are cut so that with its heads every rank has about the same to do in a layer,
  /// dense vocabularies evenly, those of a compressed head at equal bytes of it.
  static ShardPlan make(const LlamaConfig& config, const svd::FactorSource* archive, int parts, int rank);

  /// Which of a tensor's rows or columns this rank holds in a layer.
  svd::Range own(Extent extent, const LlamaConfig& config, index_t layer) const;
};

/// Cuts tiles of the given weights (bytes) into consecutive runs, one for each of `loads`, so that a run and what its
/// rank bears already are of about equal weight; a rank that bears more than that gets next to nothing. Returns one cut
/// more than runs. offsets (tiles + 1) are the first indices of the tiles. Cuts fall between tiles; where there are
/// fewer tiles than runs, within them, `step` indices or a multiple of that from their beginning.
std::vector<index_t> cut_by_weight(std::span<const index_t> offsets, std::span<const double> weights,
                                   std::span<const double> loads, index_t step = 1);

}  // namespace hack::model
