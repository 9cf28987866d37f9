#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/matrix_view.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/fit/weighted_factorizer.hpp"

/// A matrix with coupled inputs for tests of the activation-aware methods, and the plain loops they are measured with.
namespace hack::svd::testing_support {

/// A matrix in double with plain loops.
struct Dense {
  index_t rows = 0;
  index_t cols = 0;
  std::vector<double> numbers;  // (rows, cols)

  Dense(index_t m, index_t n) : rows(m), cols(n), numbers(static_cast<std::size_t>(m * n)) {}
  double& operator()(index_t i, index_t j) { return numbers[static_cast<std::size_t>(i * cols + j)]; }
  double operator()(index_t i, index_t j) const { return numbers[static_cast<std::size_t>(i * cols + j)]; }
  MatrixView<const double> view() const { return {numbers.data(), rows, cols}; }
};

inline Dense operator*(const Dense& a, const Dense& b) {
  Dense c(a.rows, b.cols);
  for (index_t i = 0; i < a.rows; ++i) {
    for (index_t k = 0; k < a.cols; ++k) {
      for (index_t j = 0; j < b.cols; ++j) c(i, j) += a(i, k) * b(k, j);
    }
  }
  return c;
}

inline Dense transposed(const Dense& a) {
  Dense t(a.cols, a.rows);
  for (index_t i = 0; i < a.rows; ++i) {
    for (index_t j = 0; j < a.cols; ++j) t(j, i) = a(i, j);
  }
  return t;
}

/// Solves a x = b by elimination with skeleton rows.
inline Dense solve(Dense a, Dense b) {
  for (index_t p = 0; p < a.rows; ++p) {
    index_t best = p;
    for (index_t i = p; i < a.rows; ++i) best = std::fabs(a(i, p)) > std::fabs(a(best, p)) ? i : best;
    for (index_t j = 0; j < a.cols; ++j) std::swap(a(p, j), a(best, j));
    for (index_t j = 0; j < b.cols; ++j) std::swap(b(p, j), b(best, j));
    for (index_t i = 0; i < a.rows; ++i) {
      if (i == p) continue;
      const double factor = a(i, p) / a(p, p);
      for (index_t j = p; j < a.cols; ++j) a(i, j) -= factor * a(p, j);
      for (index_t j = 0; j < b.cols; ++j) b(i, j) -= factor * b(p, j);
    }
  }
  for (index_t i = 0; i < b.rows; ++i) {
    for (index_t j = 0; j < b.cols; ++j) b(i, j) /= a(i, i);
  }
  return b;
}

inline double trace_of_square(const Dense& e, const Dense& h) {
  const Dense eh = e * h;
  double sum = 0;
  for (std::size_t i = 0; i < eh.numbers.size(); ++i) sum += eh.numbers[i] * e.numbers[i];
  return sum;
}

/// A matrix of weights and the statistics of its inputs.
struct Problem {
  TileGrid grid;
  std::vector<float> w;  // (m, n)
  Dense h;               // (n, n)

  /// H of `samples` inputs: a few strong directions shared by all channels, channels of different scale, noise.
  Problem(const TileGrid& grid_, unsigned seed, index_t samples) : grid(grid_), h(grid_.cols(), grid_.cols()) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    const index_t n = grid.cols();
    for (index_t i = 0; i < grid.rows() * n; ++i) w.push_back(static_cast<float>(normal(random)));
    Dense mix(5, n);
    for (double& number : mix.numbers) number = normal(random);
    std::vector<double> scale;
    for (index_t j = 0; j < n; ++j) scale.push_back(std::exp(0.7 * normal(random)));
    Dense x(samples, n);
    for (index_t s = 0; s < samples; ++s) {
      std::vector<double> z;
      for (index_t p = 0; p < mix.rows; ++p) z.push_back(normal(random));
      for (index_t j = 0; j < n; ++j) {
        x(s, j) = 0.6 * normal(random);
        for (index_t p = 0; p < mix.rows; ++p) x(s, j) += z[static_cast<std::size_t>(p)] * mix(p, j);
        x(s, j) *= scale[static_cast<std::size_t>(j)];
      }
    }
    h = transposed(x) * x;
  }
  explicit Problem(const TileGrid& grid_, unsigned seed = 1) : Problem(grid_, seed, 3 * grid_.cols()) {}

  MatrixView<const float> values() const { return {w.data(), grid.rows(), grid.cols()}; }
  TileRows all_rows() const { return {"w", {0, grid.tile_rows()}, values()}; }
  Dense matrix() const {
    Dense out(grid.rows(), grid.cols());
    std::copy(w.begin(), w.end(), out.numbers.begin());
    return out;
  }
  Dense damped(double damping) const {
    Dense out = h;
    double mean = 0;
    for (index_t j = 0; j < h.rows; ++j) mean += h(j, j) / static_cast<double>(h.rows);
    for (index_t j = 0; j < h.rows; ++j) out(j, j) += damping * mean;
    return out;
  }
  std::vector<TileChoice> uniform(index_t k) const {
    std::vector<TileChoice> choices;
    for (index_t t = 0; t < grid.size(); ++t) {
      choices.push_back(
          {kernels::Structure::low_rank, static_cast<std::int32_t>(std::min(k, grid.tile(t).full_rank())), 0, 0});
    }
    return choices;
  }
};

inline std::vector<TruncatedTile> factorize(const Problem& problem, const std::vector<TileChoice>& choices,
                                            const WeightingOptions& options, int threads = 1) {
  Queue<Device::cpu> queue(threads);
  const WeightedFactorizer factorizer(queue, problem.h.view(), problem.grid, options);
  return factorizer.factorize(queue, problem.grid, problem.all_rows(), choices);
}

/// W' in double; rows of dense tiles have the values of W.
inline Dense rebuild(const Problem& problem, const std::vector<TileChoice>& choices,
                     const std::vector<TruncatedTile>& tiles) {
  Dense out(problem.grid.rows(), problem.grid.cols());
  for (index_t t = 0; t < problem.grid.size(); ++t) {
    const Tile at = problem.grid.tile(t);
    const TruncatedTile& tile = tiles[static_cast<std::size_t>(t)];
    const TileChoice& choice = choices[static_cast<std::size_t>(t)];
    const auto row = std::span(choices).subspan(static_cast<std::size_t>(at.i * problem.grid.tile_cols()),
                                                static_cast<std::size_t>(problem.grid.tile_cols()));
    const bool row_is_dense = std::all_of(
        row.begin(), row.end(), [](const TileChoice& of_row) { return of_row.kind == kernels::Structure::dense; });
    const bool keeps_values = row_is_dense && choice.rank == at.full_rank();
    EXPECT_EQ(tile.rank, keeps_values ? 0 : choice.rank);
    for (index_t i = 0; i < at.height; ++i) {
      for (index_t j = 0; j < at.width; ++j) {
        double sum = keeps_values ? problem.values()(at.row + i, at.col + j) : 0.0;
        for (index_t p = 0; p < tile.rank; ++p) {
          sum += static_cast<double>(tile.u.data()[i * tile.rank + p]) * tile.sigma.data()[p] *
                 tile.vt.data()[p * at.width + j];
        }
        out(at.row + i, at.col + j) = sum;
      }
    }
  }
  return out;
}

inline Dense difference(const Dense& a, const Dense& b) {
  Dense out(a.rows, a.cols);
  for (std::size_t i = 0; i < out.numbers.size(); ++i) out.numbers[i] = a.numbers[i] - b.numbers[i];
  return out;
}

inline double largest(const Dense& a) {
  double out = 0;
  for (const double number : a.numbers) out = std::max(out, std::fabs(number));
  return out;
}

/// The damped loss of what factorize() makes.
inline double loss(const Problem& problem, const std::vector<TileChoice>& choices, const WeightingOptions& options) {
  const Dense rebuilt = rebuild(problem, choices, factorize(problem, choices, options));
  return trace_of_square(difference(problem.matrix(), rebuilt), problem.damped(options.damping));
}

inline std::vector<float> numbers_of(const std::vector<TruncatedTile>& tiles) {
  std::vector<float> out;
  for (const TruncatedTile& tile : tiles) {
    for (const Buffer<float>* part : {&tile.u, &tile.sigma, &tile.vt}) {
      out.insert(out.end(), part->data(), part->data() + part->size());
    }
  }
  return out;
}

/// Singular values of a tile by kernels::tile_svd.
inline std::vector<float> plain_spectrum(MatrixView<const float> tile) {
  const index_t r = std::min(tile.rows, tile.cols);
  Buffer<float> u(tile.rows * r), vt(r * tile.cols);
  std::vector<float> sigma(static_cast<std::size_t>(r));
  kernels::TileSvd<Device::cpu> out{
      {u.data(), tile.rows, r}, sigma.data(), {vt.data(), r, tile.cols}, kernels::SvdStatus::ok};
  Queue<Device::cpu> queue(1);
  kernels::tile_svd<Device::cpu>(queue, {&tile, 1}, {&out, 1});
  return sigma;
}

/// Tiles of every kind: ranks 0 … full, some dense.
inline std::vector<TileChoice> mixed_choices(const Problem& problem) {
  std::vector<TileChoice> choices;
  for (index_t t = 0; t < problem.grid.size(); ++t) {
    const index_t r = problem.grid.tile(t).full_rank();
    if (t % 4 == 3) {
      choices.push_back({kernels::Structure::dense, static_cast<std::int32_t>(r), 0, 0});
    } else {
      choices.push_back({t % 8 == 2 ? kernels::Structure::dense : kernels::Structure::low_rank,
                         static_cast<std::int32_t>((t * 5) % r), 0, 0});
    }
  }
  return choices;
}

}  // namespace hack::svd::testing_support
