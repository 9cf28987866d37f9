#include "svd/tile/int8_rows.hpp"

#include <algorithm>
#include <cmath>

namespace hack::svd {
namespace {

constexpr double largest = 127;

/// Integer nearest to x / s, within -127 … 127.
double nearest(double x, double inverse) { return std::clamp(std::nearbyint(x * inverse), -largest, largest); }

double inverse_of(double s) { return s > 0 ? 1 / s : 0; }

/// Σ_c weights_c (x_c - s q_c)²
double rounding_error(const float* x, std::span<const double> weights, double s) {
  const double inverse = inverse_of(s);
  double sum = 0;
  for (std::size_t c = 0; c < weights.size(); ++c) {
    const double error = x[c] - s * nearest(x[c], inverse);
    sum += weights[c] * error * error;
  }
  return sum;
}

bf16 best_scale(const float* x, std::span<const double> weights) {
  float magnitude = 0;
  for (std::size_t c = 0; c < weights.size(); ++c) magnitude = std::max(magnitude, std::fabs(x[c]));
  bf16 best{};
  double least = HUGE_VAL;
  for (double share : {1.0, 0.95, 0.9, 0.85, 0.8}) {
    const bf16 scale = to_bf16(static_cast<float>(share * magnitude / largest));
    const double error = rounding_error(x, weights, to_float(scale));
    if (error >= least) continue;
    least = error;
    best = scale;
  }
  return best;
}

}  // namespace

void round_rows(MatrixView<const float> x, std::span<const double> weights, const Int8Rows& to) {
  if (x.cols == 0) return;
  for (index_t r = 0; r < x.rows; ++r) {
    to.scales[r] = best_scale(x.row(r), weights);
    const double inverse = inverse_of(to_float(to.scales[r]));
    std::int8_t* row = to.numbers + r * x.cols;
    for (index_t c = 0; c < x.cols; ++c) row[c] = static_cast<std::int8_t>(nearest(x(r, c), inverse));
  }
}

void round_together(MatrixView<const float> x, Along along, MatrixView<const double> l, std::span<double> carried,
                    const Int8Rows& to) {
  const bool by_rows = along == Along::rows;
  for (index_t vector = 0; vector < (by_rows ? x.rows : x.cols); ++vector) {
    std::fill(carried.begin(), carried.end(), 0.0);
    for (index_t i = l.rows; i-- > 0;) {
      const index_t r = by_rows ? vector : i, c = by_rows ? i : vector;
      const double scale = to_float(to.scales[r]);
      const double wanted = x(r, c) + carried[static_cast<std::size_t>(i)] / l(i, i);
      const double integer = nearest(wanted, inverse_of(scale));
      to.numbers[r * x.cols + c] = static_cast<std::int8_t>(integer);
      const double error = x(r, c) - scale * integer;
      for (index_t j = 0; j < i; ++j) carried[static_cast<std::size_t>(j)] += error * l(i, j);
    }
  }
}

void widen_rows(const std::int8_t* numbers, const bf16* scales, MatrixView<float> out) {
  for (index_t r = 0; r < out.rows; ++r) {
    const float scale = to_float(scales[r]);
    for (index_t c = 0; c < out.cols; ++c) out(r, c) = scale * static_cast<float>(numbers[r * out.cols + c]);
  }
}

}  // namespace hack::svd
