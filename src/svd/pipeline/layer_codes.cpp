#include "svd/pipeline/layer_codes.hpp"

#include <algorithm>

#include "comm/collectives.hpp"
#include "svd/fit/weighted_error.hpp"

namespace hack::svd {
namespace {

/// The first row of the matrix in these rows of tiles.
index_t first_row(const TileGrid& grid, const TileRows& rows) {
  return rows.range.size() > 0 ? grid.tile(rows.range.begin, 0).row : 0;
}

/// tr(X_ij H_jj X_ijᵀ) of the tiles in these rows of tiles, for X the values and what is lost of them.
std::vector<double> energies(const TileGrid& grid, const TileRows& rows, MatrixView<const float> rebuilt,
                             MatrixView<const double> h, int threads) {
  std::vector<double> out(static_cast<std::size_t>(2 * rows.range.size() * grid.tile_cols()));
  const index_t first = first_row(grid, rows);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::size_t t = 0; t < out.size() / 2; ++t) {
    const Tile at = grid.tile(rows.range.begin * grid.tile_cols() + static_cast<index_t>(t));
    double energy = 0, lost = 0;
    for (index_t r = 0; r < at.height; ++r) {
      const float* value = rows.values.row(at.row - first + r) + at.col;
      const float* kept = rebuilt.row(at.row - first + r) + at.col;
      for (index_t i = 0; i < at.width; ++i) {
        const double* row = h.row(at.col + i) + at.col;
        double product = 0, error_product = 0;
        for (index_t k = 0; k < at.width; ++k) {
          product += row[k] * value[k];
          error_product += row[k] * (static_cast<double>(value[k]) - kept[k]);
        }
        energy += product * value[i];
        lost += error_product * (static_cast<double>(value[i]) - kept[i]);
      }
    }
    // Where errors of other tiles are made up for, a tile may be off by more than it holds.
    out[2 * t] = std::max(energy, 0.0);
    out[2 * t + 1] = std::clamp(lost, 0.0, out[2 * t]);
  }
  return out;
}

}  // namespace

LayerCodes quantize_together(const comm::Communicator& comm, Queue<Device::cpu>& queue, const RowQuantizer& quantizer,
                             MatrixView<const double> h, TiledMatrix& matrix) {
  const TileRows rows = own_rows(comm, matrix);
  LayerCodes out;
  Buffer<float> mine(rows.values.rows * matrix.grid.cols());
  const MatrixView<float> rebuilt(mine.data(), rows.values.rows, matrix.grid.cols());
  if (rows.range.size() > 0) {
    out.own = quantizer.quantize(queue, matrix.grid, rows);
    quantizer.widen(out.own, rebuilt);
  }
  const std::vector<double> own = energies(matrix.grid, rows, rebuilt, h, queue.threads());
  const std::vector<double> all = comm::all_gather(comm, std::span<const double>(own));
  matrix.choices.clear();
  for (index_t t = 0; t < matrix.grid.size(); ++t) {
    const auto at = static_cast<std::size_t>(2 * t);
    matrix.choices.push_back(
        {kernels::Structure::dense, static_cast<std::int32_t>(matrix.grid.tile(t).full_rank()), all[at], all[at + 1]});
  }
  const std::vector<float> values =
      comm::all_gather(comm, std::span<const float>(mine.data(), static_cast<std::size_t>(mine.size())));
  out.rebuilt = Buffer<float>(std::ssize(values));
  std::copy(values.begin(), values.end(), out.rebuilt.data());
  return out;
}

QuantizedRows gather_rows(const comm::Communicator& comm, const QuantizedRows& own) {
  return {comm::all_gather(comm, std::span<const std::uint8_t>(own.codes)),
          comm::all_gather(comm, std::span<const BlockScale>(own.scales))};
}

QuantizedRows own_part(const comm::Communicator& comm, const TiledMatrix& matrix, const QuantizedRows& all) {
  const TileRows own = own_rows(comm, matrix);
  const index_t first = first_row(matrix.grid, own);
  const auto part = [&]<class T>(const std::vector<T>& from) {
    const index_t of_row = std::ssize(from) / matrix.grid.rows();
    return std::vector<T>(from.begin() + first * of_row, from.begin() + (first + own.values.rows) * of_row);
  };
  return {part(all.codes), part(all.scales)};
}

}  // namespace hack::svd
