#include "svd/pipeline/layer_factors.hpp"

#include <algorithm>

#include "comm/collectives.hpp"
#include "kernels/tile_svd.hpp"

namespace hack::svd {
namespace {

/// A dense tile without factors is what it was.
bool keeps_values(const TruncatedTile& tile, const TileChoice& choice) {
  return choice.kind == kernels::Structure::dense && choice.rank > 0 && tile.rank == 0;
}

}  // namespace

TileRows own_rows(const comm::Communicator& comm, const TiledMatrix& matrix) {
  const Range range = even_part(matrix.grid.tile_rows(), comm.size(), comm.rank());
  if (range.size() == 0) return {matrix.name, range, {}};
  const index_t first = matrix.grid.tile(range.begin, 0).row;
  const Tile last = matrix.grid.tile(range.end - 1, 0);
  return {matrix.name, range, matrix.values_view().rows_from(first, last.row + last.height - first)};
}

template <Device D>
void factorize_together(const comm::Communicator& comm, Queue<D>& queue, const WeightedFactorizer<D>& factorizer,
                        TiledMatrix& matrix) {
  const TileRows rows = own_rows(comm, matrix);
  std::vector<float> numbers;  // U, sigma, Vᵀ of this rank's tiles, then of all
  std::vector<index_t> ranks;  // likewise
  if (rows.range.size() > 0) {
    const auto first = static_cast<std::size_t>(rows.range.begin * matrix.grid.tile_cols());
    const auto count = static_cast<std::size_t>(rows.range.size() * matrix.grid.tile_cols());
    const auto choices = std::span<const TileChoice>(matrix.choices).subspan(first, count);
    for (const TruncatedTile& tile : factorizer.factorize(queue, matrix.grid, rows, choices)) {
      ranks.push_back(tile.rank);
      for (const Buffer<float>* part : {&tile.u, &tile.sigma, &tile.vt}) {
        numbers.insert(numbers.end(), part->data(), part->data() + part->size());
      }
    }
  }
  numbers = comm::all_gather(comm, std::span<const float>(numbers));
  ranks = comm::all_gather(comm, std::span<const index_t>(ranks));
  matrix.tiles.clear();
  const float* next = numbers.data();
  for (index_t t = 0; t < matrix.grid.size(); ++t) {
    const Tile at = matrix.grid.tile(t);
    const index_t k = ranks[static_cast<std::size_t>(t)];
    TruncatedTile tile{k, Buffer<float>(at.height * k), Buffer<float>(k), Buffer<float>(k * at.width)};
    for (Buffer<float>* part : {&tile.u, &tile.sigma, &tile.vt}) {
      std::copy_n(next, part->size(), part->data());
      next += part->size();
    }
    matrix.tiles.push_back(std::move(tile));
  }
  HACK_EXPECT(next == numbers.data() + numbers.size());
}

template <Device D>
std::vector<float> spectra_together(const comm::Communicator& comm, Queue<D>& queue,
                                    const WeightedFactorizer<D>& factorizer, const TiledMatrix& matrix) {
  const TileRows rows = own_rows(comm, matrix);
  std::vector<float> sigma;
  if (rows.range.size() > 0) sigma = factorizer.spectra(queue, matrix.grid, rows);
  return comm::all_gather(comm, std::span<const float>(sigma));
}

Buffer<float> rebuild(Queue<Device::cpu>& queue, const TiledMatrix& matrix) {
  Buffer<float> out(matrix.grid.rows() * matrix.grid.cols());
  const MatrixView<float> whole(out.data(), matrix.grid.rows(), matrix.grid.cols());
  std::copy_n(matrix.values.data(), out.size(), out.data());
  std::vector<kernels::TileSvd<Device::cpu>> svds;
  std::vector<index_t> ranks;
  std::vector<MatrixView<float>> blocks;
  for (index_t t = 0; t < matrix.grid.size(); ++t) {
    const Tile at = matrix.grid.tile(t);
    const TruncatedTile& tile = matrix.tiles[static_cast<std::size_t>(t)];
    if (keeps_values(tile, matrix.choices[static_cast<std::size_t>(t)])) continue;
    // The product only reads its factors.
    auto* u = const_cast<float*>(tile.u.data());
    auto* sigma = const_cast<float*>(tile.sigma.data());
    auto* vt = const_cast<float*>(tile.vt.data());
    svds.push_back({{u, at.height, tile.rank}, sigma, {vt, tile.rank, at.width}, kernels::SvdStatus::ok});
    ranks.push_back(tile.rank);
    blocks.push_back(whole.block(at.row, at.col, at.height, at.width));
  }
  kernels::tile_product<Device::cpu>(queue, svds, ranks, blocks);
  return out;
}

#define HACK_INSTANTIATE(D)                                                                                           \
  template void factorize_together(const comm::Communicator&, Queue<D>&, const WeightedFactorizer<D>&, TiledMatrix&); \
  template std::vector<float> spectra_together(const comm::Communicator&, Queue<D>&, const WeightedFactorizer<D>&,    \
                                               const TiledMatrix&);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::svd
