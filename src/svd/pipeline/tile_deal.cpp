#include "svd/pipeline/tile_deal.hpp"

#include <algorithm>
#include <numeric>

#include "kernels/interpolative.hpp"
#include "kernels/tile_svd.hpp"

namespace hack::svd {
namespace {

/// No rank of a tile is higher under the rule.
index_t highest_rank(const CompressOptions& options, index_t full) {
  switch (options.rule.kind) {
    case RankRule::Kind::topk:
      return rank_of_topk(options.rule.value, full);
    case RankRule::Kind::max_rank:
      return std::min(static_cast<index_t>(options.rule.value), full);
    default:
      return full;
  }
}

/// What one tile takes, in bytes, whatever device computes.
struct TileMemory {
  index_t rank;  // at most
  index_t values, encoded, vectors;
  index_t interpolative;  // skeleton rows and coefficients, f32
};

TileMemory memory_of_tile(const CompressOptions& options, const Tile& tile) {
  const index_t h = tile.height, w = tile.width, k = highest_rank(options, tile.full_rank());
  TileMemory memory{.rank = k,
                    .values = 4 * h * w,
                    .encoded = 4 * tile.full_rank(),  // its spectrum
                    .vectors = 4 * k * (h + w),
                    .interpolative = 0};
  if (options.keeps_vectors()) {
    memory.encoded += 4 * k * (h + w) + h * w * size_of(options.values_type);
    return memory;
  }
  memory.encoded += std::min(dense_bytes(h, w, options.codec), stored_bytes(options.storage, h, w, k, options.codec));
  if (options.storage != Structure::low_rank) memory.interpolative = 4 * k * (h + w - k);
  return memory;
}

/// What a tile takes while it is factorized and encoded: all of a batch, and those of a run.
struct WorkingMemory {
  index_t of_all = 0, of_run = 0;          // of the host
  index_t gpu_of_all = 0, gpu_of_run = 0;  // of a GPU
};

/// `count` tiles in a run.
WorkingMemory work_on_host(const TileMemory& memory, const Tile& tile, index_t count, int threads) {
  const index_t h = tile.height, w = tile.width, k = memory.rank;
  const kernels::TileSvdBytes svd = kernels::tile_svd_bytes<Device::cpu>(h, w, k);
  const index_t busy = std::min<index_t>(count, threads);
  const index_t interpolation_scratch =
      memory.interpolative > 0 ? kernels::interpolation_bytes<Device::cpu>(h, w, k) : 0;
  // Vectors are found, and their reduced forms given back; then skeleton rows.
  const index_t pivoting = count * (memory.interpolative - svd.reduced) + busy * interpolation_scratch;
  return {.of_all = svd.reduced, .of_run = count * memory.vectors + std::max(busy * svd.scratch, pivoting)};
}

/// Likewise where a GPU has the values once they are read, until what the archive holds comes back.
WorkingMemory work_on_gpu(const TileMemory& memory, const Tile& tile, index_t count) {
  const index_t h = tile.height, w = tile.width, k = memory.rank;
  const kernels::TileSvdBytes svd = kernels::tile_svd_bytes<Device::cuda>(h, w, k);
  const bool is_interpolative = memory.interpolative > 0;
  const index_t interpolation_scratch = is_interpolative ? kernels::interpolation_bytes<Device::cuda>(h, w, k) : 0;
  // A tile that the GPU leaves to the host is interpolative there, on copies.
  const index_t on_host =
      is_interpolative && interpolation_scratch == 0
          ? memory.vectors + memory.interpolative + kernels::interpolation_bytes<Device::cpu>(h, w, k)
          : 0;
  return {.of_all = 4 * tile.full_rank(),
          .of_run = count * (memory.values + (is_interpolative ? memory.interpolative : memory.vectors)) + on_host,
          .gpu_of_all = memory.values + 4 * tile.full_rank() + svd.reduced,
          .gpu_of_run = count * (svd.scratch + memory.vectors + memory.interpolative + interpolation_scratch)};
}

}  // namespace

double cost_of(const Tile& tile) {
  return static_cast<double>(tile.height) * static_cast<double>(tile.width) * static_cast<double>(tile.full_rank());
}

std::vector<Range> deal_tiles(std::span<const TileGrid> grids, std::span<const double> shares) {
  const auto ranks = std::ssize(shares);
  double total = 0;  // of integers below 2^53: exact
  index_t tiles = 0;
  for (const TileGrid& grid : grids) {
    tiles += grid.size();
    for (index_t t = 0; t < grid.size(); ++t) total += cost_of(grid.tile(t));
  }
  std::vector<double> ends(shares.begin(), shares.end());
  if (tiles <= 4 * ranks) std::fill(ends.begin(), ends.end(), 1.0);
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  std::vector<Range> dealt;
  double before = 0;
  index_t number = 0;
  std::size_t owner = 0;
  dealt.push_back({0, 0});
  for (const TileGrid& grid : grids) {
    for (index_t t = 0; t < grid.size(); ++t, ++number) {
      const double cost = cost_of(grid.tile(t));
      const double middle = (before + cost / 2) / total * ends.back();
      while (owner + 1 < ends.size() && middle >= ends[owner]) {
        dealt[owner].end = number;
        dealt.push_back({number, number});
        ++owner;
      }
      before += cost;
    }
  }
  dealt[owner].end = number;
  while (std::ssize(dealt) < ranks) dealt.push_back({number, number});
  return dealt;
}

std::vector<double> balanced_shares(std::span<const double> shares, std::span<const double> costs,
                                    std::span<const double> seconds) {
  std::vector<double> balanced(shares.begin(), shares.end());
  double speeds = 0, known = 0;  // of those ranks that did something, and the shares they have
  for (std::size_t p = 0; p < shares.size(); ++p) {
    if (costs[p] <= 0 || seconds[p] <= 0) continue;
    speeds += costs[p] / seconds[p];
    known += shares[p];
  }
  for (std::size_t p = 0; p < shares.size(); ++p) {
    if (costs[p] <= 0 || seconds[p] <= 0) continue;
    balanced[p] = (shares[p] + costs[p] / seconds[p] / speeds * known) / 2;
  }
  const double even = std::accumulate(balanced.begin(), balanced.end(), 0.0) / static_cast<double>(balanced.size());
  const double excess = *std::max_element(balanced.begin(), balanced.end()) - even;
  const double allowed = (largest_share - 1) * even;
  if (excess <= allowed) return balanced;
  for (double& share : balanced) share = even + (share - even) * allowed / excess;
  return balanced;
}

index_t tiles_at_once(const TileGrid& grid, Device device, int threads) {
  const bool is_gpu = device == Device::cuda;
  const index_t numbers = index_t{1} << (is_gpu ? 24 : 20);
  return (is_gpu ? 1 : threads) * std::max<index_t>(1, numbers / (grid.tile_height() * grid.tile_width()));
}

StepMemory memory_of(const CompressOptions& options, std::span<const TileGrid> grids, std::span<const Range> dealt,
                     Device device, int threads) {
  StepMemory most;
  for (const Range& own : dealt) {
    StepMemory memory;
    index_t of_run = 0, gpu_of_run = 0, first = 0;
    for (const TileGrid& grid : grids) {
      const Range here = intersect({own.begin - first, own.end - first}, {0, grid.size()});
      first += grid.size();
      if (here.size() == 0) continue;
      // Tiles that are not clipped, or the only ones there are.
      const TileMemory tile = memory_of_tile(options, grid.tile(0));
      const double scale = static_cast<double>(here.size()) * static_cast<double>(grid.rows() * grid.cols()) /
                           static_cast<double>(grid.size() * grid.tile_height() * grid.tile_width());
      const auto all = [&](index_t bytes) { return static_cast<index_t>(scale * static_cast<double>(bytes)); };
      const index_t at_once = std::min(here.size(), tiles_at_once(grid, device, threads));
      const WorkingMemory working = device == Device::cuda ? work_on_gpu(tile, grid.tile(0), at_once)
                                                           : work_on_host(tile, grid.tile(0), at_once, threads);
      memory.values += all(tile.values);
      memory.encoded += all(tile.encoded);
      memory.working += all(working.of_all);
      memory.gpu += all(working.gpu_of_all);
      of_run = std::max(of_run, working.of_run);
      gpu_of_run = std::max(gpu_of_run, working.gpu_of_run);
    }
    most.values = std::max(most.values, memory.values);
    most.working = std::max(most.working, memory.working + of_run);
    most.encoded = std::max(most.encoded, memory.encoded);
    most.gpu = std::max(most.gpu, memory.gpu + gpu_of_run);
  }
  return most;
}

}  // namespace hack::svd
