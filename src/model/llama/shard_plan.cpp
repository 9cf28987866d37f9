#include "model/llama/shard_plan.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>

#include "model/llama/names.hpp"
#include "svd/tile/storage.hpp"

namespace hack::model {
namespace {

using svd::Range;

/// Adds what each slab of the intermediate dimension stores of one matrix: its tile rows (gate, up) or columns (down).
void add_slab_bytes(const svd::FactorSource& archive, const std::string& name, bool by_columns,
                    std::vector<double>& bytes) {
  const svd::MatrixTable& entry = archive.matrix(name);
  for (index_t number = 0; number < entry.grid.size(); ++number) {
    const svd::Tile tile = entry.grid.tile(number);
    bytes[by_columns ? tile.j : tile.i] += static_cast<double>(entry.stored_bytes_of(number));
  }
}

/// The query heads of a rank and the key/value heads that they read.
std::pair<Range, Range> own_heads(const LlamaConfig& config, int parts, int rank) {
  const Range heads = svd::even_part(config.heads, parts, rank);
  const index_t group = config.heads / config.kv_heads;
  if (heads.size() == 0) return {heads, {}};
  return {heads, {heads.begin / group, (heads.end - 1) / group + 1}};
}

/// What each rank's heads take of a layer, in numbers that a token is multiplied with: q, k, v and o, as if dense, and
/// keys and values of a prompt of 512, half of which a token sees on average.
std::vector<double> attention_loads(const LlamaConfig& config, int parts) {
  std::vector<double> loads;
  for (int rank = 0; rank < parts; ++rank) {
    ShardPlan plan;
    std::tie(plan.heads, plan.kv_heads) = own_heads(config, parts, rank);
    index_t numbers = 2 * 256 * plan.heads.size() * config.head_dim;  // keys and values
    for (const Linear linear : all_linears) {
      const LayerTensor& tensor = tensor_of(linear);
      if (!is_mlp(linear)) numbers += plan.own(tensor.rows, config, 0).size() * plan.own(tensor.cols, config, 0).size();
    }
    loads.push_back(static_cast<double>(numbers));
  }
  return loads;
}

/// The weight w such that ranks which are filled up to it take `whole` together: Σ max(0, w - load) = whole.
double common_level(std::span<const double> loads, double whole) {
  std::vector<double> sorted(loads.begin(), loads.end());
  std::sort(sorted.begin(), sorted.end());
  double level = 0, sum = whole;
  for (std::size_t n = 0; n < sorted.size(); ++n) {
    if (n > 0 && sorted[n] >= level) break;
    sum += sorted[n];
    level = sum / static_cast<double>(n + 1);
  }
  return level;
}

/// Where a dense intermediate dimension may be cut: between the blocks of 32 that products are made of, if there are
/// many of them.
std::vector<index_t> dense_offsets(index_t size, int parts) {
  constexpr index_t block = 32;
  std::vector<index_t> offsets;
  if (size >= 8 * block * parts) {
    for (index_t at = 0; at < size; at += block) offsets.push_back(at);
  } else {
    offsets.push_back(0);
  }
  offsets.push_back(size);
  return offsets;
}

/// The cuts of one layer's intermediate dimension.
std::vector<index_t> intermediate_cuts(const LlamaConfig& config, const svd::FactorSource* archive, index_t layer,
                                       int parts) {
  std::vector<index_t> offsets;
  std::vector<double> bytes;
  index_t step = 1;
  for (const Linear linear : mlp_linears) {
    const std::string name = weight_name(layer, linear);
    const bool by_columns = tensor_of(linear).cols == Extent::intermediate;
    if (archive == nullptr || !archive->contains(name)) continue;
    const svd::MatrixTable& table = archive->matrix(name);
    const svd::TileGrid& grid = table.grid;
    for (const svd::TermEntry& term : table.terms) {
      if (by_columns) step = std::max(step, spec_of(term.codec).block);
    }
    const std::vector<index_t> slabs = by_columns ? grid.col_offsets() : grid.row_offsets();
    if (offsets.empty()) {
      offsets = slabs;
      bytes.assign(offsets.size() - 1, 0.0);
    }
    if (offsets == slabs) add_slab_bytes(*archive, name, by_columns, bytes);
  }
  std::vector<double> loads = attention_loads(config, parts);
  if (offsets.empty()) {
    offsets = dense_offsets(config.intermediate_size, parts);
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
      bytes.push_back(static_cast<double>(3 * (offsets[s + 1] - offsets[s]) * config.hidden_size));
    }
  } else {
    const double bytes_of_number = static_cast<double>(spec_of(archive->info().compression.codec).code_bits) / 8;
    for (double& load : loads) load *= bytes_of_number;
  }
  return cut_by_weight(offsets, bytes, loads, step);
}

/// This rank's rows of embedding and head: evenly, or where the head is compressed at equal bytes of it.
Range own_vocabulary(const LlamaConfig& config, const svd::FactorSource* archive, int parts, int rank) {
  const char* const name = head_weights(config);
  if (archive == nullptr || !archive->contains(name)) return svd::even_part(config.vocab_size, parts, rank);
  const std::vector<index_t> offsets = archive->matrix(name).grid.row_offsets();
  std::vector<double> bytes(offsets.size() - 1, 0.0);
  add_slab_bytes(*archive, name, false, bytes);
  const std::vector<double> loads(static_cast<std::size_t>(parts), 0.0);
  const std::vector<index_t> cuts = cut_by_weight(offsets, bytes, loads);
  return {cuts[static_cast<std::size_t>(rank)], cuts[static_cast<std::size_t>(rank) + 1]};
}

}  // namespace

std::vector<index_t> cut_by_weight(std::span<const index_t> offsets, std::span<const double> weights,
                                   std::span<const double> loads, index_t step) {
  const index_t tiles = std::ssize(weights), parts = std::ssize(loads);
  std::vector<double> before(tiles + 1, 0.0);  // weight of the tiles before each offset
  // A tile of rank 0 still has rows: a small weight keeps cuts from piling up.
  for (index_t t = 0; t < tiles; ++t) before[t + 1] = before[t] + weights[t] + 1.0;
  const double level = common_level(loads, before[tiles]);
  std::vector<index_t> cuts = {offsets.front()};
  index_t t = 0;
  double target = 0;
  for (index_t p = 0; p + 1 < parts; ++p) {
    target = std::min(target + std::max(0.0, level - loads[p]), before[tiles]);
    while (t < tiles && before[t + 1] <= target) ++t;
    if (tiles < parts) {  // within a tile, or at its end
      const index_t at = std::min(t, tiles - 1);
      const double share = (target - before[at]) / (before[at + 1] - before[at]);
      const index_t size = offsets[at + 1] - offsets[at];
      const double steps = share * static_cast<double>(size) / static_cast<double>(step);
      cuts.push_back(offsets[at] + std::min(size, static_cast<index_t>(std::lround(steps)) * step));
    } else {  // at the nearer end of tile t
      const bool nearer_end = t < tiles && target - before[t] > before[t + 1] - target;
      cuts.push_back(std::max(cuts.back(), offsets[nearer_end ? t + 1 : t]));
    }
  }
  cuts.push_back(offsets.back());
  return cuts;
}

ShardPlan ShardPlan::make(const LlamaConfig& config, const svd::FactorSource* archive, int parts, int rank) {
  ShardPlan plan;
  std::tie(plan.heads, plan.kv_heads) = own_heads(config, parts, rank);
  plan.vocabulary = own_vocabulary(config, archive, parts, rank);
  const index_t group = config.heads / config.kv_heads;
  for (index_t h = plan.heads.begin; h < plan.heads.end; ++h) {
    plan.kv_of_head.push_back(static_cast<int>(h / group - plan.kv_heads.begin));
  }
  for (index_t layer = 0; layer < config.layers; ++layer) {
    const std::vector<index_t> cuts = intermediate_cuts(config, archive, layer, parts);
    plan.intermediate.push_back({cuts[rank], cuts[rank + 1]});
  }
  return plan;
}

svd::Range ShardPlan::own(Extent extent, const LlamaConfig& config, index_t layer) const {
  switch (extent) {
    case Extent::queries:
      return {heads.begin * config.head_dim, heads.end * config.head_dim};
    case Extent::keys:
      return {kv_heads.begin * config.head_dim, kv_heads.end * config.head_dim};
    case Extent::intermediate:
      return intermediate[static_cast<std::size_t>(layer)];
    case Extent::vocabulary:
      return vocabulary;
    default:
      return {0, size_of(extent, config)};
  }
}

}  // namespace hack::model
