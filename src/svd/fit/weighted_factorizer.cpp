#include "svd/fit/weighted_factorizer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/error.hpp"
#include "kernels/host_view.hpp"
#include "svd/fit/product_truncation.hpp"
#include "svd/fit/refit.hpp"
#include "svd/fit/weighted_tile_rows.hpp"
#include "svd/fit/whitened_spectra.hpp"

namespace hack::svd {
namespace {

using kernels::SvdStatus;

/// Throws where a tile has no factors.
void check_tile(const TileRows& rows, index_t i, index_t j, SvdStatus status) {
  if (status == SvdStatus::ok) return;
  fail("tensor {}, tile ({}, {}) cannot be factorized ({}); check the checkpoint", rows.name, i, j,
       status == SvdStatus::not_finite ? "it holds NaN or infinity" : "its singular values did not converge");
}

/// The rows of the matrix in one row of tiles.
MatrixView<const float> values_of(const TileGrid& grid, const TileRows& rows, index_t i) {
  return rows.values.rows_from(grid.tile(i, 0).row - grid.tile(rows.range.begin, 0).row, grid.tile(i, 0).height);
}

void check(const Whitening& whitening, const TileGrid& grid, const TileRows& rows) {
  const Range range = rows.range;
  HACK_EXPECT(whitening.h().rows == grid.cols() && whitening.tile_cols() == grid.tile_cols());
  HACK_EXPECT(whitening.width(0) == grid.tile_width());
  HACK_EXPECT(range.begin >= 0 && range.begin < range.end && range.end <= grid.tile_rows());
  const Tile last = grid.tile(range.end - 1, 0);
  HACK_EXPECT(rows.values.rows == last.row + last.height - grid.tile(range.begin, 0).row);
  HACK_EXPECT(rows.values.cols == grid.cols());
  for (index_t r = 0; r < rows.values.rows; ++r) {
    const float* numbers = rows.values.row(r);
    const float* end = numbers + rows.values.cols;
    const float* found = std::find_if(numbers, end, [](float number) { return !std::isfinite(number); });
    if (found == end) continue;
    check_tile(rows, range.begin + r / grid.tile_height(), (found - numbers) / grid.tile_width(),
               SvdStatus::not_finite);
  }
}

/// Solves for the left factors of all rows in closed form.
template <Device D>
void refit_rows(Queue<D>& queue, const TileRows& rows, WeightedTileRows<D>& tile_rows) {
  const std::vector<std::uint8_t> is_solved = Refit<D>(queue, tile_rows).apply();
  for (std::size_t r = 0; r < is_solved.size(); ++r) {
    validate(is_solved[r] != 0,
             "tensor {}, row {} of tiles: left factors cannot be refitted (the calibration "
             "statistics are not positive semidefinite); calibrate again or raise the damping",
             rows.name, rows.range.begin + static_cast<index_t>(r));
  }
}

/// sigma_p = ‖L_p‖ and U_p = L_p / sigma_p of the columns of L (h, k).
void normalize_columns(MatrixView<const double> left, TruncatedTile& tile) {
  for (index_t p = 0; p < left.cols; ++p) {
    double square = 0;
    for (index_t i = 0; i < left.rows; ++i) square += left(i, p) * left(i, p);
    const double norm = std::sqrt(square);
    tile.sigma.data()[p] = static_cast<float>(norm);
    for (index_t i = 0; i < left.rows; ++i) {
      tile.u.data()[i * left.cols + p] = norm > 0 ? static_cast<float>(left(i, p) / norm) : 0.0f;
    }
  }
}

void round_to(DType type, Buffer<float>& x) {
  std::vector<std::byte> rounded(static_cast<std::size_t>(x.size() * size_of(type)));
  convert(x.data(), DType::f32, rounded.data(), type, x.size());
  convert(rounded.data(), type, x.data(), DType::f32, x.size());
}

/// Rounds the right factors and solves for the left factors once more. `tiles` are the tiles of the rows in order. The
/// refit needs U diag(sigma) Vᵀ as L = U diag(sigma), R = Vᵀ: the rounded R is no longer orthonormal, but nearly so,
/// which is all that the conditioning of the refit's system needs.
template <Device D>
void refit_rounded(Queue<D>& queue, DType type, const TileRows& rows, WeightedTileRows<D>& tile_rows,
                   std::vector<TruncatedTile>& tiles) {
  Buffer<double> left(tile_rows.left().size()), right(tile_rows.right().size());
  double *next_left = left.data(), *next_right = right.data();
  for (TruncatedTile& tile : tiles) {
    round_to(type, tile.vt);
    for (index_t n = 0; n < tile.u.size(); ++n) {
      *next_left++ = static_cast<double>(tile.u.data()[n]) * tile.sigma.data()[n % tile.rank];
    }
    next_right = std::copy_n(tile.vt.data(), tile.vt.size(), next_right);
  }
  tile_rows.assign(left, right);
  refit_rows(queue, rows, tile_rows);
  const HostView<double, D> solved(queue, tile_rows.left().data(), left.size());
  const double* next = solved.data();
  for (TruncatedTile& tile : tiles) {
    if (tile.rank == 0) continue;
    normalize_columns({next, tile.u.size() / tile.rank, tile.rank}, tile);
    next += tile.u.size();
  }
}

/// All tiles as U diag(sigma) Vᵀ, some rows at a time: as many rows as threads, or all rows on a GPU.
template <Device D>
std::vector<TruncatedTile> truncate_products(Queue<D>& queue, const TileRows& rows, WeightedTileRows<D>& tile_rows) {
  const index_t columns = tile_rows.whitening().tile_cols();
  const index_t at_once = D == Device::cpu ? queue.threads() : tile_rows.count();
  std::vector<TruncatedTile> tiles;
  for (index_t begin = 0; begin < tile_rows.count(); begin += at_once) {
    ProductTruncation<D> truncation(tile_rows, begin, std::min(begin + at_once, tile_rows.count()));
    const std::vector<SvdStatus> statuses = truncation.run(queue);
    for (std::size_t t = 0; t < statuses.size(); ++t) {
      const index_t number = truncation.numbers()[t];
      check_tile(rows, rows.range.begin + number / columns, number % columns, statuses[t]);
    }
    truncation.take(queue, tiles);
  }
  return tiles;
}

}  // namespace

template <Device D>
WeightedFactorizer<D>::WeightedFactorizer(Queue<D>& queue, MatrixView<const double> h, const TileGrid& grid,
                                          const WeightingOptions& options)
    : host_(queue.threads()), whitening_(host_, h, grid, options.damping), placed_(whitening_), options_(options) {
  validate(options.sweeps >= 0, "{} sweeps of error feedback are impossible; use 0, 1, 2, …", options.sweeps);
}

template <Device D>
std::vector<float> WeightedFactorizer<D>::spectra(Queue<D>& queue, const TileGrid& grid, const TileRows& rows) const {
  check(whitening_, grid, rows);
  WhitenedSpectra<D> spectra(queue, placed_, grid);
  std::vector<float> sigma;
  for (index_t i = rows.range.begin; i < rows.range.end; ++i) {
    const std::vector<std::uint8_t> has_converged = spectra.append(i, values_of(grid, rows, i), sigma);
    for (std::size_t j = 0; j < has_converged.size(); ++j) {
      check_tile(rows, i, static_cast<index_t>(j), has_converged[j] ? SvdStatus::ok : SvdStatus::not_converged);
    }
  }
  return sigma;
}

template <Device D>
std::vector<TruncatedTile> WeightedFactorizer<D>::factorize(Queue<D>& queue, const TileGrid& grid, const TileRows& rows,
                                                            std::span<const TileChoice> choices) const {
  check(whitening_, grid, rows);
  HACK_EXPECT(std::ssize(choices) == rows.range.size() * grid.tile_cols());
  WeightedTileRows<D> tile_rows(queue, placed_, grid, rows.range.begin, rows.values, choices);

  // With one tile column H_jj is all of H: there is no error to feed back, and the whitened truncation is the optimum
  // (Eckart and Young 1936), which no refit improves.
  const bool is_coupled = grid.tile_cols() > 1;
  const bool with_error_feedback = is_coupled && options_.sweeps > 0;
  for (int sweep = 0; sweep < (with_error_feedback ? options_.sweeps : 1); ++sweep) {
    for (index_t j = 0; j < grid.tile_cols(); ++j) {
      const std::vector<SvdStatus> statuses = tile_rows.step(j, with_error_feedback);
      for (std::size_t r = 0; r < statuses.size(); ++r) {
        check_tile(rows, rows.range.begin + static_cast<index_t>(r), j, statuses[r]);
      }
    }
  }
  // The refit's system R_j H_jl R_lᵀ is as well conditioned as H only where the rows of each R_j are orthonormal; R =
  // U_kᵀ T of a truncation has rows of very different lengths.
  validate(tile_rows.orthonormalize(),
           "tensor {}, rows {} to {} of tiles: no QR factorization (LAPACK found no memory); use fewer threads",
           rows.name, rows.range.begin, rows.range.end - 1);
  if (is_coupled && options_.refit) refit_rows(queue, rows, tile_rows);
  std::vector<TruncatedTile> out = truncate_products(queue, rows, tile_rows);
  if (options_.rounding) refit_rounded(queue, *options_.rounding, rows, tile_rows, out);
  return out;
}

template class WeightedFactorizer<Device::cpu>;
template class WeightedFactorizer<Device::cuda>;

}  // namespace hack::svd
