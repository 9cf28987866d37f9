#include "svd/weighted_factorizer.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/error.hpp"
#include "svd/linear_algebra.hpp"
#include "svd/refit.hpp"
#include "svd/weighted_tile_row.hpp"

namespace hack::svd {
namespace {

using kernels::SvdStatus;
using kernels::TileSvd;

/// Throws where a tile has no factors.
void check_tile(const TileRows& rows, index_t i, index_t j, SvdStatus status) {
  if (status == SvdStatus::ok) return;
  fail("tensor {}, tile ({}, {}) cannot be factorized ({}); check the checkpoint", rows.name, i, j,
       status == SvdStatus::not_finite ? "it holds NaN or infinity" : "its singular values did not converge");
}

/// The rows of one tile row.
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

/// Working memory of one thread for the spectrum of a tile.
struct SpectrumSpace {
  Buffer<double> whitened;  // (h, w)
  Buffer<double> gram;      // (r, r)
  Buffer<double> lambda;    // (r)
};

/// Singular values of W S as roots of the eigenvalues of its smaller Gram matrix: in double they are good to 1e-8 of
/// the largest. False where they do not converge or are beyond double.
bool weighted_spectrum(MatrixView<const float> w, MatrixView<const double> root, SpectrumSpace& space, float* sigma) {
  const index_t r = std::min(w.rows, w.cols);
  const MatrixView<double> whitened(space.whitened.data(), w.rows, w.cols);
  const MatrixView<double> gram(space.gram.data(), r, r);
  copy(w, whitened);
  multiply_triangular(whitened, root, Transpose::no);
  const bool is_tall = w.rows > w.cols;
  multiply(1, whitened, is_tall ? Transpose::yes : Transpose::no, whitened, is_tall ? Transpose::no : Transpose::yes, 0,
           gram);
  const std::span<double> lambda(space.lambda.data(), static_cast<std::size_t>(r));
  if (!eigenvalues(gram, lambda)) return false;
  for (index_t k = 0; k < r; ++k) {
    sigma[k] = static_cast<float>(std::sqrt(std::max(0.0, lambda[static_cast<std::size_t>(r - 1 - k)])));
  }
  return true;
}

/// One step at tile column j for all rows: targets, their SVDs in one batch, truncation.
void step(Queue<Device::cpu>& queue, const TileRows& rows, index_t j, bool with_feedback,
          std::vector<WeightedTileRow>& tile_rows) {
  std::vector<WeightedTileRow*> active;
  for (WeightedTileRow& row : tile_rows) {
    if (row.rank(j) > 0) active.push_back(&row);
  }
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t t = 0; t < active.size(); ++t) active[t]->form_target(j, with_feedback);

  std::vector<MatrixView<const float>> in;
  std::vector<TileSvd<Device::cpu>> out;
  for (WeightedTileRow* row : active) {
    in.push_back(row->target());
    out.push_back(row->target_svd());
  }
  kernels::tile_svd<Device::cpu>(queue, in, out);
  for (std::size_t t = 0; t < active.size(); ++t) check_tile(rows, active[t]->i(), j, out[t].status);
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t t = 0; t < active.size(); ++t) active[t]->truncate(j);
}

/// Orthonormal right factors everywhere.
void orthonormalize_rows(Queue<Device::cpu>& queue, const TileRows& rows, std::vector<WeightedTileRow>& tile_rows) {
  std::vector<std::uint8_t> is_orthonormal(tile_rows.size());
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t t = 0; t < tile_rows.size(); ++t) is_orthonormal[t] = tile_rows[t].orthonormalize();
  for (std::size_t t = 0; t < tile_rows.size(); ++t) {
    validate(is_orthonormal[t] != 0,
             "tensor {}, row {} of tiles: no QR factorization (LAPACK found no memory); use fewer threads", rows.name,
             tile_rows[t].i());
  }
}

/// The closed-form left factors of all rows.
void refit_rows(Queue<Device::cpu>& queue, const Whitening& whitening, const TileRows& rows,
                std::vector<WeightedTileRow>& tile_rows) {
  const auto threads = std::min(static_cast<std::size_t>(queue.threads()), tile_rows.size());
  index_t height = 0, rank_sum = 0, max_rank = 0;
  for (const WeightedTileRow& row : tile_rows) {
    height = std::max(height, row.height());
    rank_sum = std::max(rank_sum, row.rank_sum());
    for (index_t j = 0; j < whitening.tile_cols(); ++j) max_rank = std::max(max_rank, row.rank(j));
  }
  std::vector<Refit> refits;  // (threads)
  for (std::size_t t = 0; t < threads; ++t) refits.emplace_back(whitening, height, rank_sum, max_rank);
  std::vector<std::uint8_t> is_solved(tile_rows.size());
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::size_t t = 0; t < tile_rows.size(); ++t) {
    is_solved[t] = refits[static_cast<std::size_t>(omp_get_thread_num())].apply(tile_rows[t]);
  }
  for (std::size_t t = 0; t < tile_rows.size(); ++t) {
    validate(is_solved[t] != 0,
             "tensor {}, row {} of tiles: left factors cannot be refitted (the calibration "
             "statistics are not positive semidefinite); calibrate again or raise the damping",
             rows.name, tile_rows[t].i());
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

/// Rounds the right factors and solves for the left ones once more. `tiles` are those of the rows, in their order.
void refit_rounded(Queue<Device::cpu>& queue, const Whitening& whitening, DType type, const TileRows& rows,
                   std::vector<WeightedTileRow>& tile_rows, std::vector<TruncatedTile>& tiles) {
  const auto tile_cols = static_cast<std::size_t>(whitening.tile_cols());
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    TruncatedTile& tile = tiles[t];
    if (tile.rank == 0) continue;
    WeightedTileRow& row = tile_rows[t / tile_cols];
    const auto j = static_cast<index_t>(t % tile_cols);
    round_to(type, tile.vt);
    row.assign(j, {tile.u.data(), row.height(), tile.rank}, tile.sigma.data(),
               {tile.vt.data(), tile.rank, whitening.width(j)});
  }
  refit_rows(queue, whitening, rows, tile_rows);
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    if (tiles[t].rank == 0) continue;
    normalize_columns(tile_rows[t / tile_cols].left(static_cast<index_t>(t % tile_cols)), tiles[t]);
  }
}

/// A tile L R with orthonormal rows of R, on its way to U diag(sigma) Vᵀ.
struct Product {
  index_t i = 0;
  index_t j = 0;
  MatrixView<const double> left;   // (h, k)
  MatrixView<const double> right;  // (k, w)
  TruncatedTile* out = nullptr;
  Buffer<float> left_f32;  // (h, k)
  Buffer<float> rotation;  // (k, k) Bᵀ of L = U diag(sigma) Bᵀ
};

void truncate_products(Queue<Device::cpu>& queue, const TileRows& rows, std::vector<Product>& products) {
  std::vector<MatrixView<const float>> in;
  std::vector<TileSvd<Device::cpu>> out;
  index_t largest = 0, widest = 0;
  for (Product& product : products) {
    const index_t h = product.left.rows;
    const index_t k = product.left.cols;
    const index_t w = product.right.cols;
    *product.out = {k, Buffer<float>(h * k), Buffer<float>(k), Buffer<float>(k * w)};
    product.left_f32 = Buffer<float>(h * k);
    product.rotation = Buffer<float>(k * k);
    copy(product.left, MatrixView<float>(product.left_f32.data(), h, k));
    in.emplace_back(product.left_f32.data(), h, k);
    out.push_back(
        {{product.out->u.data(), h, k}, product.out->sigma.data(), {product.rotation.data(), k, k}, SvdStatus::ok});
    largest = std::max(largest, k);
    widest = std::max(widest, w);
  }
  kernels::tile_svd<Device::cpu>(queue, in, out);
  for (std::size_t t = 0; t < out.size(); ++t) check_tile(rows, products[t].i, products[t].j, out[t].status);

  std::vector<Buffer<double>> spaces;  // per thread: the rotation (k, k), Vᵀ (k, w)
  for (int t = 0; t < queue.threads(); ++t) spaces.emplace_back(largest * (largest + widest));
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t t = 0; t < products.size(); ++t) {
    const Product& product = products[t];
    const index_t k = product.right.rows;
    double* space = spaces[static_cast<std::size_t>(omp_get_thread_num())].data();
    const MatrixView<double> rotation(space, k, k);
    const MatrixView<double> vt(space + k * k, k, product.right.cols);
    copy(MatrixView<const float>(out[t].vt), rotation);
    multiply(1, rotation, Transpose::no, product.right, Transpose::no, 0, vt);
    copy(MatrixView<const double>(vt), MatrixView<float>(product.out->vt.data(), k, vt.cols));
  }
}

}  // namespace

WeightedFactorizer::WeightedFactorizer(Queue<Device::cpu>& queue, MatrixView<const double> h, const TileGrid& grid,
                                       const WeightingOptions& options)
    : whitening_(queue, h, grid, options.damping), options_(options) {
  validate(options.sweeps >= 0, "{} sweeps of feedback are impossible; use 0, 1, 2, …", options.sweeps);
}

std::vector<float> WeightedFactorizer::spectra(Queue<Device::cpu>& queue, const TileGrid& grid,
                                               const TileRows& rows) const {
  check(whitening_, grid, rows);
  const index_t first = rows.range.begin * grid.tile_cols();
  const auto count = static_cast<std::size_t>(rows.range.size() * grid.tile_cols());
  std::vector<std::size_t> starts = {0};  // (tiles + 1) in the result
  for (std::size_t t = 0; t < count; ++t) {
    const Tile tile = grid.tile(first + static_cast<index_t>(t));
    starts.push_back(starts.back() + static_cast<std::size_t>(tile.full_rank()));
  }
  std::vector<float> sigma(starts.back());
  std::vector<SpectrumSpace> spaces;  // (threads)
  const index_t r = grid.max_rank();
  for (int t = 0; t < queue.threads(); ++t) {
    spaces.push_back(
        {Buffer<double>(grid.tile_height() * grid.tile_width()), Buffer<double>(r * r), Buffer<double>(r)});
  }
  hold_blas_to_one_thread();
  std::vector<std::uint8_t> is_done(count);
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t t = 0; t < count; ++t) {
    const index_t i = rows.range.begin + static_cast<index_t>(t) / whitening_.tile_cols();
    const index_t j = static_cast<index_t>(t) % whitening_.tile_cols();
    const MatrixView<const float> row = values_of(grid, rows, i);
    is_done[t] =
        weighted_spectrum(row.block(0, whitening_.first_col(j), row.rows, whitening_.width(j)), whitening_.root(j),
                          spaces[static_cast<std::size_t>(omp_get_thread_num())], sigma.data() + starts[t]);
  }
  for (std::size_t t = 0; t < count; ++t) {
    const Tile tile = grid.tile(first + static_cast<index_t>(t));
    check_tile(rows, tile.i, tile.j, is_done[t] ? SvdStatus::ok : SvdStatus::not_converged);
  }
  return sigma;
}

std::vector<TruncatedTile> WeightedFactorizer::factorize(Queue<Device::cpu>& queue, const TileGrid& grid,
                                                         const TileRows& rows,
                                                         std::span<const TileChoice> choices) const {
  check(whitening_, grid, rows);
  const auto tile_cols = static_cast<std::size_t>(grid.tile_cols());
  HACK_EXPECT(choices.size() == static_cast<std::size_t>(rows.range.size()) * tile_cols);
  std::vector<WeightedTileRow> tile_rows;
  for (index_t i = rows.range.begin; i < rows.range.end; ++i) {
    const auto t = static_cast<std::size_t>(i - rows.range.begin) * tile_cols;
    tile_rows.emplace_back(whitening_, grid, i, values_of(grid, rows, i), choices.subspan(t, tile_cols));
  }
  hold_blas_to_one_thread();

  // With one tile column there is nothing to feed back and truncation is optimal by itself.
  const bool is_coupled = grid.tile_cols() > 1;
  const bool with_feedback = is_coupled && options_.sweeps > 0;
  for (int sweep = 0; sweep < (with_feedback ? options_.sweeps : 1); ++sweep) {
    for (index_t j = 0; j < grid.tile_cols(); ++j) step(queue, rows, j, with_feedback, tile_rows);
  }
  orthonormalize_rows(queue, rows, tile_rows);
  if (is_coupled && options_.refit) refit_rows(queue, whitening_, rows, tile_rows);

  std::vector<TruncatedTile> out(choices.size());
  std::vector<Product> products;
  for (std::size_t t = 0; t < out.size(); ++t) {
    WeightedTileRow& row = tile_rows[t / tile_cols];
    const auto j = static_cast<index_t>(t % tile_cols);
    if (row.rank(j) > 0) products.push_back({row.i(), j, row.left(j), row.right(j), &out[t], {}, {}});
  }
  truncate_products(queue, rows, products);
  if (options_.rounding) refit_rounded(queue, whitening_, *options_.rounding, rows, tile_rows, out);
  return out;
}

}  // namespace hack::svd
