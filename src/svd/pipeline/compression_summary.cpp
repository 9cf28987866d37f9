#include "svd/pipeline/compression_summary.hpp"

#include <algorithm>
#include <cmath>

#include "svd/tile/storage.hpp"

namespace hack::svd {

CompressionSummary summarize(const std::string& name, const TileGrid& grid, std::span<const TileChoice> tiles,
                             Codec codec) {
  CompressionSummary out{.name = name, .tiles = grid.size(), .codec = codec};
  out.bytes_dense = dense_bytes(grid.rows(), grid.cols(), codec);
  out.min_rank = grid.max_rank();
  for (index_t t = 0; t < grid.size(); ++t) {
    const Tile tile = grid.tile(t);
    const TileChoice& choice = tiles[static_cast<std::size_t>(t)];
    out.bytes_factors += stored_bytes(choice.kind, tile.height, tile.width, choice.rank, codec);
    out.energy += choice.energy;
    out.discarded += choice.discarded;
    out.dense_tiles += choice.kind == kernels::Structure::dense;
    out.min_rank = std::min<index_t>(out.min_rank, choice.rank);
    out.max_rank = std::max<index_t>(out.max_rank, choice.rank);
    out.mean_rank += choice.rank;
  }
  out.mean_rank /= static_cast<double>(grid.size());
  return out;
}

CompressionSummary total_of(std::span<const CompressionSummary> matrices) {
  CompressionSummary total{.name = "total"};
  double rank_sum = 0;
  for (const CompressionSummary& matrix : matrices) {
    total.min_rank = total.tiles == 0 ? matrix.min_rank : std::min(total.min_rank, matrix.min_rank);
    total.max_rank = std::max(total.max_rank, matrix.max_rank);
    total.bytes_factors += matrix.bytes_factors;
    total.bytes_dense += matrix.bytes_dense;
    total.energy += matrix.energy;
    total.discarded += matrix.discarded;
    total.tiles += matrix.tiles;
    total.dense_tiles += matrix.dense_tiles;
    rank_sum += matrix.mean_rank * static_cast<double>(matrix.tiles);
  }
  if (total.tiles > 0) total.mean_rank = rank_sum / static_cast<double>(total.tiles);
  return total;
}

double CompressionSummary::keep() const {
  return bytes_dense == 0 ? 0.0 : static_cast<double>(bytes_factors) / static_cast<double>(bytes_dense);
}

double CompressionSummary::relative_error() const { return energy == 0 ? 0.0 : std::sqrt(discarded / energy); }

}  // namespace hack::svd
