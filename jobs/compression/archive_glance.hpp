#pragma once

#include <map>
#include <string>
#include <vector>

#include "svd/archive/factor_archive.hpp"

namespace hack::jobs {

/// Names in the order of the numbers in them: layer 2 before layer 10.
std::vector<std::string> in_natural_order(std::vector<std::string> names);

/// The number of the layer that a tensor belongs to; -1 where it names none.
int layer_of(const std::string& name);

/// A bar of `width` characters, as full as the share says, 0 to 1.
std::string bar(double share, int width);

/// What an archive holds of one layer.
struct LayerGlance {
  int layer = -1;
  double bytes = 0, bytes_dense = 0, energy = 0, discarded = 0;
  double ranks = 0, tiles = 0;
  std::map<std::string, long> terms;  ///< by structure and codec

  double keep() const { return bytes / bytes_dense; }
  double mean_rank() const { return ranks / tiles; }
  double relative_error() const;
};

/// A tile whose error is among the largest.
struct TileGlance {
  std::string matrix;
  index_t row = 0, column = 0, rank = 0;  ///< its place in the grid of tiles; its rank
  double relative_error = 0;
  double share = 0;  ///< of the squared error of all tiles
};

/// The layers of an archive, in order.
std::vector<LayerGlance> glance_at_layers(const svd::FactorArchive& archive);

/// The `most` tiles with the largest relative errors, the worst first.
std::vector<TileGlance> worst_tiles(const svd::FactorArchive& archive, std::size_t most);

/// Structure and codec of a term: "low_rank bf16".
std::string words_of(const svd::TermEntry& term);

}  // namespace hack::jobs
