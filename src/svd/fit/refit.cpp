#include "svd/fit/refit.hpp"

#include <algorithm>

namespace hack::svd {

using kernels::Transpose;

template <Device D>
Refit<D>::Refit(Queue<D>& queue, WeightedTileRows<D>& rows) : queue_(queue), rows_(rows) {
  for (index_t r = 0; r < rows.count(); ++r) {
    height_ = std::max(height_, rows.height(r));
    rank_sum_ = std::max(rank_sum_, rows.rank_sum(r));
    for (index_t j = 0; j < tile_cols(); ++j) max_rank_ = std::max(max_rank_, rows.rank(r, j));
  }
  const index_t n = rows.whitening().h().cols;
  at_once_ = queue.threads();
  if constexpr (D == Device::cuda) {
    constexpr index_t most_numbers = (index_t{2} << 30) / static_cast<index_t>(sizeof(double));
    at_once_ = most_numbers / (max_rank_ * n + rank_sum_ * (rank_sum_ + height_) + 1);
  }
  at_once_ = std::clamp<index_t>(at_once_, 1, rows.count());
  weighted_ = Buffer<double, D>(at_once_ * max_rank_ * n);
  gram_ = Buffer<double, D>(at_once_ * rank_sum_ * rank_sum_);
  correction_ = Buffer<double, D>(at_once_ * height_ * rank_sum_);
}

template <Device D>
index_t Refit<D>::rank_before(index_t r, index_t j) const {
  index_t before = 0;
  for (index_t l = 0; l < j; ++l) before += rows_.rank(r, l);
  return before;
}

template <Device D>
auto Refit<D>::weighted(std::size_t place, index_t k) -> Wide {
  const index_t n = rows_.whitening().h().cols;
  return {weighted_.data() + static_cast<index_t>(place) * max_rank_ * n, k, n};
}

template <Device D>
auto Refit<D>::gram(std::size_t place, index_t r) -> Wide {
  const index_t total = rows_.rank_sum(r);
  return {gram_.data() + static_cast<index_t>(place) * rank_sum_ * rank_sum_, total, total};
}

template <Device D>
auto Refit<D>::correction(std::size_t place, index_t r) -> Wide {
  return {correction_.data() + static_cast<index_t>(place) * height_ * rank_sum_, rows_.height(r), rows_.rank_sum(r)};
}

/// Forms tile column j's rows of P H Pᵀ (R_j H_jl R_lᵀ for l <= j: the lower triangle is enough for Cholesky) and its
/// columns of E H Pᵀ. P is block-diagonal and never written out: R_j H_j (k, n) of one tile at a time serves all of
/// them. d_j is added to H_jj alone, as the whitening of column j has it, here as d_j R_j beside R_j H_jj.
template <Device D>
void Refit<D>::form_column(const std::vector<index_t>& some, index_t j) {
  const PlacedWhitening<D>& whitening = rows_.whitening();
  const index_t first = whitening.first_col(j), width = whitening.width(j);
  std::vector<kernels::Product<D>> weights, grams, corrections;
  std::vector<kernels::Block<double, double, D>> damped;
  for (std::size_t place = 0; place < some.size(); ++place) {
    const index_t r = some[place], k = rows_.rank(r, j);
    if (k == 0) continue;
    const Wide of_tile = weighted(place, k), right = rows_.right(r, j);
    weights.push_back({right, whitening.h().rows_from(first, width), of_tile});
    damped.push_back({right, of_tile.block(0, first, k, width)});
    index_t before = 0;
    for (index_t l = 0; l <= j; ++l) {
      const index_t others = rows_.rank(r, l);
      if (others == 0) continue;
      grams.push_back({of_tile.block(0, whitening.first_col(l), k, whitening.width(l)), rows_.right(r, l),
                       gram(place, r).block(rank_before(r, j), before, k, others)});
      before += others;
    }
    corrections.push_back(
        {rows_.error(r), of_tile, correction(place, r).block(0, rank_before(r, j), rows_.height(r), k)});
  }
  kernels::multiply<D>(queue_, 1, Transpose::no, Transpose::no, 0, weights);
  kernels::combine<D, double, double>(queue_, whitening.damping(j), 1, damped);
  kernels::multiply<D>(queue_, 1, Transpose::no, Transpose::yes, 0, grams);
  kernels::multiply<D>(queue_, 1, Transpose::no, Transpose::yes, 0, corrections);
}

/// With G = P H Pᵀ, the step D = E H Pᵀ (G + c I)⁻¹ changes the loss by -tr(D (G + 2 c I) Dᵀ) <= 0 for every c >= 0.
/// The correction is solved for and not the factors themselves, so that a large c shortens the step and does not spoil
/// L.
template <Device D>
std::vector<std::uint8_t> Refit<D>::solve(const std::vector<index_t>& some, double relative_damping) {
  for (index_t j = 0; j < tile_cols(); ++j) form_column(some, j);
  std::vector<Wide> grams;
  for (std::size_t place = 0; place < some.size(); ++place) grams.push_back(gram(place, some[place]));
  kernels::damp<D>(queue_, relative_damping, grams);
  std::vector<std::uint8_t> is_solvable(some.size());
  kernels::cholesky<D>(queue_, grams, is_solvable);
  std::vector<kernels::CholeskySystem<D>> systems;
  for (std::size_t place = 0; place < some.size(); ++place) {
    if (is_solvable[place]) systems.push_back({grams[place], correction(place, some[place])});
  }
  kernels::solve_cholesky<D>(queue_, systems);
  correct(some, is_solvable);
  return is_solvable;
}

template <Device D>
void Refit<D>::correct(const std::vector<index_t>& some, const std::vector<std::uint8_t>& is_solved) {
  std::vector<kernels::Block<double, double, D>> corrections;
  for (std::size_t place = 0; place < some.size(); ++place) {
    if (!is_solved[place]) continue;
    const index_t r = some[place];
    index_t at = 0;
    for (index_t j = 0; j < tile_cols(); ++j) {
      const index_t k = rows_.rank(r, j);
      if (k > 0) corrections.push_back({correction(place, r).block(0, at, rows_.height(r), k), rows_.left(r, j)});
      at += k;
    }
  }
  kernels::combine<D, double, double>(queue_, 1, 1, corrections);
}

template <Device D>
std::vector<std::uint8_t> Refit<D>::apply() {
  std::vector<std::uint8_t> is_solved(static_cast<std::size_t>(rows_.count()), 1);
  for (index_t begin = 0; begin < rows_.count(); begin += at_once_) {
    std::vector<index_t> some;
    for (index_t r = begin; r < std::min(begin + at_once_, rows_.count()); ++r) {
      if (rows_.rank_sum(r) > 0) some.push_back(r);
    }
    // 1e-9 is enough for any system that is positive semidefinite up to rounding; more damping shortens the step.
    for (const double relative_damping : {1e-9, 1e-6, 1e-3}) {
      const std::vector<std::uint8_t> found = solve(some, relative_damping);
      std::vector<index_t> failed;
      for (std::size_t place = 0; place < some.size(); ++place) {
        is_solved[static_cast<std::size_t>(some[place])] = found[place];
        if (!found[place]) failed.push_back(some[place]);
      }
      some = std::move(failed);
      if (some.empty()) break;
    }
  }
  return is_solved;
}

template class Refit<Device::cpu>;
template class Refit<Device::cuda>;

}  // namespace hack::svd
