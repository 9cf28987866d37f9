#include "svd/pipeline/layer_codes.hpp"

#include <algorithm>
#include <numeric>

#include <omp.h>

#include "comm/collectives.hpp"
#include "kernels/cpu/factorize/linear_algebra.hpp"
#include "svd/fit/weighted_error.hpp"

namespace hack::svd {
namespace {

/// The first row of the matrix in these rows of tiles.
index_t first_row(const TileGrid& grid, const TileRows& rows) {
  return rows.range.size() > 0 ? grid.tile(rows.range.begin, 0).row : 0;
}

/// tr(X H Xᵀ); `product` as X.
double trace(MatrixView<const double> x, MatrixView<const double> h, MatrixView<double> product) {
  kernels::multiply(1, x, kernels::Transpose::no, h, kernels::Transpose::no, 0, product);
  return std::inner_product(x.data, x.data + x.rows * x.cols, product.data, 0.0);
}

/// tr(X_ij H_jj X_ijᵀ) of the tiles in these rows of tiles, for X the values and what is lost of them.
std::vector<double> energies(const TileGrid& grid, const TileRows& rows, MatrixView<const float> rebuilt,
                             MatrixView<const double> h, int threads) {
  std::vector<double> out(static_cast<std::size_t>(2 * rows.range.size() * grid.tile_cols()));
  const index_t first = first_row(grid, rows);
  const index_t most = grid.tile_height() * grid.tile_width();
  Buffer<double> space(2 * most * threads);
  kernels::hold_blas_to_one_thread();
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::size_t t = 0; t < out.size() / 2; ++t) {
    const Tile at = grid.tile(rows.range.begin * grid.tile_cols() + static_cast<index_t>(t));
    double* mine = space.data() + omp_get_thread_num() * 2 * most;
    const MatrixView<double> x(mine, at.height, at.width), product(mine + most, at.height, at.width);
    const MatrixView<const double> inputs = h.block(at.col, at.col, at.width, at.width);
    const auto values = rows.values.block(at.row - first, at.col, at.height, at.width);
    const auto kept = rebuilt.block(at.row - first, at.col, at.height, at.width);
    kernels::copy(values, x);
    const double energy = trace(x, inputs, product);
    for (index_t r = 0; r < at.height; ++r) {
      for (index_t c = 0; c < at.width; ++c) x(r, c) -= kept(r, c);
    }
    const double lost = trace(x, inputs, product);
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
