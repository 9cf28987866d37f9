#include "svd/fit/weighted_tile_rows.hpp"

#include <algorithm>

#include "kernels/elementwise.hpp"
#include "kernels/error.hpp"

namespace hack::svd {

using kernels::Transpose;

template <Device D>
WeightedTileRows<D>::WeightedTileRows(Queue<D>& queue, const PlacedWhitening<D>& whitening, const TileGrid& grid,
                                      index_t first, MatrixView<const float> values,
                                      std::span<const TileChoice> choices)
    : queue_(queue),
      whitening_(whitening),
      n_(grid.cols()),
      tile_width_(grid.tile_width()),
      values_(values.data, values.rows * values.cols) {
  HACK_EXPECT(values.ld == n_ && whitening.h().rows == n_ && whitening.tile_cols() == grid.tile_cols());
  const auto columns = static_cast<std::size_t>(grid.tile_cols());
  for (index_t at = 0; at < values.rows; at += rows_.back().height) {
    rows_.push_back({at, grid.tile(first + count(), 0).height});
  }
  HACK_EXPECT(choices.size() == rows_.size() * columns);
  error_ = Buffer<double, D>(values.rows * n_);
  // Bytes of zero in either type.
  kernels::clear<D>(queue, {reinterpret_cast<float*>(error_.data()), values.rows, 2 * n_});
  for (index_t r = 0; r < count(); ++r) place(r, choices.subspan(static_cast<std::size_t>(r) * columns, columns));
  const Part last = parts_.back();
  left_ = Buffer<double, D>(last.left + height(count() - 1) * last.rank);
  right_ = Buffer<double, D>(last.right + last.rank * whitening.width(grid.tile_cols() - 1));
  const index_t area = values.rows * tile_width_;
  target_ = Buffer<double, D>(area);
  product_ = Buffer<double, D>(area);
  whitened_ = Buffer<float, D>(area);
  u_ = Buffer<float, D>(values.rows * largest_);
  sigma_ = Buffer<float, D>(count() * tile_width_);
  vt_ = Buffer<float, D>(count() * largest_ * tile_width_);
}

/// Gives the factors of a row's tiles their places, and sets the errors of tiles without factors.
template <Device D>
void WeightedTileRows<D>::place(index_t r, std::span<const TileChoice> choices) {
  const bool is_dense = std::all_of(choices.begin(), choices.end(),
                                    [](const TileChoice& choice) { return choice.kind == kernels::Structure::dense; });
  Blocks<float, double> missing;
  for (index_t j = 0; j < whitening_.tile_cols(); ++j) {
    const index_t full_rank = std::min(height(r), whitening_.width(j));
    const index_t k = choices[static_cast<std::size_t>(j)].rank;
    HACK_EXPECT(k >= 0 && k <= full_rank);
    // Beside tiles of low rank a dense tile makes up for their errors, so it does not keep its values.
    const bool keeps_values = is_dense && k == full_rank;
    Part next;
    if (!parts_.empty()) {
      const Part& before = parts_.back();
      const bool is_first = j == 0;
      next.left = before.left + height(is_first ? r - 1 : r) * before.rank;
      next.right = before.right + before.rank * whitening_.width(is_first ? whitening_.tile_cols() - 1 : j - 1);
    }
    next.rank = keeps_values ? 0 : k;
    parts_.push_back(next);
    if (!keeps_values && k == 0) {
      missing.push_back({values_of(r, j), error_of(r, j)});
      rows_[static_cast<std::size_t>(r)].error_end = whitening_.first_col(j) + whitening_.width(j);
    }
    largest_ = std::max(largest_, next.rank);
  }
  kernels::combine<D, float, double>(queue_, 1, 0, missing);
}

template <Device D>
index_t WeightedTileRows<D>::rank_sum(index_t r) const {
  index_t sum = 0;
  for (index_t j = 0; j < whitening_.tile_cols(); ++j) sum += rank(r, j);
  return sum;
}

/// The rows that have factors in column j.
template <Device D>
std::vector<index_t> WeightedTileRows<D>::active(index_t j) const {
  std::vector<index_t> active;
  for (index_t r = 0; r < count(); ++r) {
    if (rank(r, j) > 0) active.push_back(r);
  }
  return active;
}

template <Device D>
MatrixView<const float, D> WeightedTileRows<D>::values_of(index_t r, index_t j) const {
  return MatrixView<const float, D>(values_.data() + row(r).first * n_, height(r), n_)
      .block(0, whitening_.first_col(j), height(r), whitening_.width(j));
}

template <Device D>
void WeightedTileRows<D>::multiply(double alpha, Transpose op_a, double beta, const Products& products) {
  kernels::multiply<D>(queue_, alpha, op_a, Transpose::no, beta, products);
}

/// Order of the batches: the tile's own error must be zero before E H_·j is formed, because the sum over l leaves out
/// l = j; measure_errors() writes it anew. Columns of E from error_end on are zero, so a first sweep multiplies only
/// the columns that it has passed.
template <Device D>
void WeightedTileRows<D>::form_targets(index_t j, bool with_error_feedback, const std::vector<index_t>& active) {
  Blocks<float, double> targets, own_errors;
  Blocks<double, float> rounded;
  Products errors, corrections, whitened;
  const index_t first = whitening_.first_col(j), width = whitening_.width(j);
  for (const index_t r : active) {
    const Wide target = tile_of(target_, r, j), product = tile_of(product_, r, j);
    targets.push_back({values_of(r, j), target});
    if (const index_t end = row(r).error_end; with_error_feedback && end > 0) {
      own_errors.push_back({values_of(r, j), error_of(r, j)});
      errors.push_back({error(r).block(0, 0, height(r), end), whitening_.h().block(0, first, end, width), product});
      corrections.push_back({product, whitening_.inverse(j), target});
    }
    whitened.push_back({target, whitening_.root(j), product});
    rounded.push_back({product, tile_of(whitened_, r, j)});
  }
  kernels::combine<D, float, double>(queue_, 1, 0, targets);
  kernels::combine<D, float, double>(queue_, 0, 0, own_errors);
  multiply(1, Transpose::no, 0, errors);
  multiply(1, Transpose::no, 1, corrections);
  multiply(1, Transpose::no, 0, whitened);
  kernels::round_scaled<D>(queue_, rounded);
}

template <Device D>
kernels::TileSvd<D> WeightedTileRows<D>::svd_of(index_t r, index_t j) {
  const index_t k = rank(r, j);
  return {{u_.data() + row(r).first * largest_, height(r), k},
          sigma_.data() + r * tile_width_,
          {vt_.data() + r * largest_ * tile_width_, k, whitening_.width(j)},
          kernels::SvdStatus::ok};
}

template <Device D>
std::vector<kernels::SvdStatus> WeightedTileRows<D>::step(index_t j, bool with_error_feedback) {
  const std::vector<index_t> rows = active(j);
  form_targets(j, with_error_feedback, rows);
  std::vector<MatrixView<const float, D>> in;
  std::vector<kernels::TileSvd<D>> out;
  for (const index_t r : rows) {
    in.push_back(tile_of(whitened_, r, j));
    out.push_back(svd_of(r, j));
  }
  kernels::tile_svd<D>(queue_, in, out);
  std::vector<kernels::SvdStatus> statuses(rows_.size(), kernels::SvdStatus::ok);
  bool is_done = true;
  for (std::size_t t = 0; t < rows.size(); ++t) {
    statuses[static_cast<std::size_t>(rows[t])] = out[t].status;
    is_done = is_done && out[t].status == kernels::SvdStatus::ok;
  }
  if (is_done) truncate(j, rows);
  return statuses;
}

/// R = U_kᵀ T in place of diag(sigma) V_kᵀ S_j⁻¹, the same numbers: no triangular solve, and the rounding of the SVD in
/// f32 reaches U alone, for whose span R is then the best choice.
template <Device D>
void WeightedTileRows<D>::truncate(index_t j, const std::vector<index_t>& active) {
  Blocks<float, double> lefts;
  Products rights;
  for (const index_t r : active) {
    lefts.push_back({svd_of(r, j).u, left(r, j)});
    rights.push_back({left(r, j), tile_of(target_, r, j), right(r, j)});
  }
  kernels::combine<D, float, double>(queue_, 1, 0, lefts);
  multiply(1, Transpose::yes, 0, rights);
  measure_errors(j, active);
}

/// E_ij = W_ij - L R
template <Device D>
void WeightedTileRows<D>::measure_errors(index_t j, const std::vector<index_t>& active) {
  Blocks<float, double> errors;
  Products products;
  for (const index_t r : active) {
    errors.push_back({values_of(r, j), error_of(r, j)});
    products.push_back({left(r, j), right(r, j), error_of(r, j)});
    index_t& end = rows_[static_cast<std::size_t>(r)].error_end;
    end = std::max(end, whitening_.first_col(j) + whitening_.width(j));
  }
  kernels::combine<D, float, double>(queue_, 1, 0, errors);
  multiply(-1, Transpose::no, 1, products);
}

template <Device D>
bool WeightedTileRows<D>::orthonormalize() {
  std::vector<kernels::FactorPair<D>> pairs;
  for (index_t r = 0; r < count(); ++r) {
    for (index_t j = 0; j < whitening_.tile_cols(); ++j) {
      if (rank(r, j) > 0) pairs.push_back({left(r, j), right(r, j)});
    }
  }
  return kernels::orthonormalize_rows<D>(queue_, pairs);
}

template <Device D>
void WeightedTileRows<D>::assign(const Buffer<double>& left, const Buffer<double>& right) {
  HACK_EXPECT(left.size() == left_.size() && right.size() == right_.size());
  queue_.wait();
  kernels::copy_from_host<D>(left_.data(), left.data(), static_cast<std::size_t>(left.bytes()));
  kernels::copy_from_host<D>(right_.data(), right.data(), static_cast<std::size_t>(right.bytes()));
  for (index_t j = 0; j < whitening_.tile_cols(); ++j) measure_errors(j, active(j));
}

template class WeightedTileRows<Device::cpu>;
template class WeightedTileRows<Device::cuda>;

}  // namespace hack::svd
