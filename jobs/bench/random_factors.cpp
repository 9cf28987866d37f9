#include "jobs/bench/random_factors.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/error.hpp"
#include "model/llama/names.hpp"

namespace hack::jobs {
namespace {

/// n numbers in bf16, uniform, of this standard deviation.
std::vector<std::byte> random_numbers(index_t n, double deviation, std::minstd_rand& engine) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(n) * sizeof(bf16));
  auto* numbers = reinterpret_cast<bf16*>(bytes.data());
  const double width = std::sqrt(12.0) * deviation / static_cast<double>(std::minstd_rand::max());
  for (index_t i = 0; i < n; ++i) {
    numbers[i] = to_bf16(static_cast<float>(width * (static_cast<double>(engine()) - std::minstd_rand::max() / 2.0)));
  }
  return bytes;
}

}  // namespace

RandomFactors::RandomFactors(index_t rank, svd::Storage storage) : rank_(rank) {
  validate(rank >= 0, "--rank {} is below 0", rank);
  info_.header.method = "random";
  info_.compression.storage = storage;
  info_.compression.factor_type = DType::bf16;
}

void RandomFactors::add(const std::string& name, index_t rows, index_t cols) {
  svd::MatrixTable table{info_.compression.grid(rows, cols), {}, {}, {}, {}, 0, 2 * rows * cols};
  const kernels::Structure kind = svd::kind_of(info_.compression.storage);
  for (index_t number = 0; number < table.grid.size(); ++number) {
    const svd::Tile tile = table.grid.tile(number);
    const index_t rank = std::min(rank_, tile.full_rank());
    table.ranks.push_back(static_cast<std::int32_t>(rank));
    table.bytes_factors += svd::stored_bytes(kind, tile.height, tile.width, rank, info_.compression.factor_type);
  }
  table.kinds.assign(table.ranks.size(), kind);
  table.energies.assign(table.ranks.size(), 1);
  table.discarded.assign(table.ranks.size(), 0);
  tables_.emplace(name, std::move(table));
  names_.insert(std::lower_bound(names_.begin(), names_.end(), name), name);
}

void RandomFactors::add_mlp(const model::LlamaConfig& config) {
  for (index_t layer = 0; layer < config.layers; ++layer) {
    for (const model::Linear linear : model::mlp_linears) {
      const model::LayerTensor& tensor = tensor_of(linear);
      add(model::weight_name(layer, linear), size_of(tensor.rows, config), size_of(tensor.cols, config));
    }
  }
}

const svd::MatrixTable& RandomFactors::matrix(std::string_view name) const {
  const auto at = tables_.find(name);
  validate(at != tables_.end(), "there are no random factors of '{}'", name);
  return at->second;
}

std::vector<svd::StoredTile> RandomFactors::read_tiles(std::string_view name, index_t i, index_t first_col,
                                                       index_t last_col) const {
  const svd::MatrixTable& table = matrix(name);
  std::vector<svd::StoredTile> tiles;
  for (index_t j = first_col; j < last_col; ++j) {
    const svd::Tile at = table.grid.tile(i, j);
    const auto number = static_cast<std::size_t>(i * table.grid.tile_cols() + j);
    const index_t k = table.ranks[number];
    std::minstd_rand engine(static_cast<unsigned>(number + 1));
    svd::StoredTile tile;
    tile.kind = table.kinds[number];
    tile.rank = table.ranks[number];
    tile.u =
        random_numbers(svd::u_size(tile.kind, at.height, at.width, k), 1 / std::sqrt(std::max<double>(1, k)), engine);
    tile.v = random_numbers(svd::v_size(tile.kind, at.width, k), 1 / std::sqrt(table.grid.cols()), engine);
    if (tile.kind == kernels::Structure::low_rank) tile.sigma.assign(static_cast<std::size_t>(k), 1.0f);
    if (tile.kind == kernels::Structure::interpolative) {
      for (index_t p = 0; p < k; ++p) tile.skeleton.push_back(p * at.height / k);
    }
    tiles.push_back(std::move(tile));
  }
  return tiles;
}

}  // namespace hack::jobs
