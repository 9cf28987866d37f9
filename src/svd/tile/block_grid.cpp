#include "svd/tile/block_grid.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

/// GGML's kvalues_iq4nl.
constexpr std::array<double, 16> nonlinear_levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                     1,    13,   25,  38,  53,  69,  89,  113};

/// Of q3, denser where values are frequent. Errors of SmolLM2's matrices after all steps of RowQuantizer, against even
/// levels: 0.95 times; all of 80 : 52 : 30 : 10 to 100 : 60 : 32 : 10 around the middle are within 2 % of each other.
constexpr std::array<double, 8> compact_levels = {0, 37, 62, 84, 104, 126, 151, 188};

struct Format {
  std::string_view name;
  int bits;
  double first;  // level of code 0
  bool has_minimum;
  bool has_signed_scale;
  bool is_compact;
};

constexpr std::array formats = {
    Format{"q8_0", 8, -127, false, false, false}, Format{"q5_1", 5, 0, true, false, false},
    Format{"q5_0", 5, -16, false, true, false},   Format{"q4_1", 4, 0, true, false, false},
    Format{"q4_0", 4, -8, false, true, false},    Format{"iq4_nl", 4, -127, false, true, false},
    Format{"q3", 3, 0, true, false, true},        Format{"q2", 2, 0, true, false, true},
};

/// Rounds to f16 with the lowest `dropped` bits of its significand left out; ties to even, what is too large to the
/// largest.
float round_half(double x, int dropped) {
  const double limit = 65504;
  x = std::clamp(x, -limit, limit);
  if (x == 0) return 0;
  // A unit in the last place of what is kept; below 2^-14 f16 is subnormal.
  const int exponent = std::max(std::ilogb(x), -14);
  const double unit = std::ldexp(1.0, exponent - 10 + dropped);
  const double rounded = std::nearbyint(x / unit) * unit;
  const double largest = (2.0 - std::ldexp(1.0, dropped - 10)) * 0x1p15;
  return static_cast<float>(std::clamp(rounded, -largest, largest));
}

/// Sums over a block that its best scale and minimum follow from.
struct Moments {
  double w = 0, wl = 0, wll = 0, wx = 0, wxl = 0;
};

/// A candidate while ranges are searched.
struct Candidate {
  BlockScale scale;
  double error = HUGE_VAL;
};

}  // namespace

BlockGrid::BlockGrid(std::string_view name) {
  const auto* format = std::find_if(formats.begin(), formats.end(), [&](const Format& f) { return f.name == name; });
  validate(format != formats.end(), "no block format is named {}", name);
  block_ = format->is_compact ? 64 : 32;
  has_minimum_ = format->has_minimum;
  has_signed_scale_ = format->has_signed_scale;
  is_compact_ = format->is_compact;
  is_even_ = name != "iq4_nl" && name != "q3";
  if (name == "iq4_nl") {
    levels_.assign(nonlinear_levels.begin(), nonlinear_levels.end());
  } else if (name == "q3") {
    levels_.assign(compact_levels.begin(), compact_levels.end());
  } else {
    // -128 of q8_0 is left out, as GGML does: kernels negate codes.
    const int count = (1 << format->bits) - (format->bits == 8 ? 1 : 0);
    for (int q = 0; q < count; ++q) levels_.push_back(format->first + q);
  }
  for (std::size_t q = 0; q + 1 < levels_.size(); ++q) borders_.push_back((levels_[q] + levels_[q + 1]) / 2);
}

int BlockGrid::nearest(double x) const {
  if (is_even_) return static_cast<int>(std::clamp(std::ceil(x - levels_[0] - 0.5), 0.0, count() - 1.0));
  int code = 0;
  for (const double border : borders_) code += x > border ? 1 : 0;
  return code;
}

float BlockGrid::rounded_minimum(double minimum) const {
  return has_minimum_ ? round_half(minimum, is_compact_ ? 4 : 0) : 0.0f;
}

BlockScale BlockGrid::rounded(double scale, double minimum) const {
  if (!has_signed_scale_) scale = std::max(scale, 0.0);
  return {round_half(scale, is_compact_ ? 3 : 0), rounded_minimum(minimum)};
}

namespace {

/// Σ weights (x - d L_q - m)² of the nearest codes, and the sums that the best scale for these codes follows from.
double measure(const BlockGrid& grid, std::span<const double> x, std::span<const double> weights,
               const BlockScale& scale, Moments& sums) {
  double error = 0;
  sums = {};
  for (std::size_t c = 0; c < x.size(); ++c) {
    const double level = grid.level(grid.code_of(x[c], scale));
    const double rest = x[c] - scale.scale * level - scale.minimum;
    error += weights[c] * rest * rest;
    const double w = weights[c], wl = w * level;
    sums.w += w;
    sums.wl += wl;
    sums.wll += wl * level;
    sums.wx += w * x[c];
    sums.wxl += wl * x[c];
  }
  return error;
}

/// Least squares for fixed codes.
BlockScale solve(const BlockGrid& grid, const Moments& sums) {
  if (!grid.has_minimum()) return grid.rounded(sums.wll > 0 ? sums.wxl / sums.wll : 0, 0);
  const double determinant = sums.w * sums.wll - sums.wl * sums.wl;
  if (!(determinant > 1e-12 * sums.w * sums.wll)) return grid.rounded(0, sums.w > 0 ? sums.wx / sums.w : 0);
  BlockScale scale = grid.rounded((sums.w * sums.wxl - sums.wl * sums.wx) / determinant, 0);
  // The minimum makes up for what the scale lost when it was rounded.
  scale.minimum = grid.rounded_minimum((sums.wx - scale.scale * sums.wl) / sums.w);
  return scale;
}

/// Takes the start and what two steps of least squares make of it, if one of them is better.
void try_range(const BlockGrid& grid, std::span<const double> x, std::span<const double> weights, BlockScale scale,
               Candidate& best) {
  Moments sums;
  for (int step = 0; step < 3; ++step) {
    const double error = measure(grid, x, weights, scale, sums);
    if (error < best.error) best = {scale, error};
    const BlockScale next = solve(grid, sums);
    if (next == scale) return;
    scale = next;
  }
}

}  // namespace

BlockScale BlockGrid::find(std::span<const double> x, std::span<const double> weights) const {
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  const double last = levels_.back(), first = levels_.front();
  Candidate best;
  if (has_minimum_) {
    const double range = *high - *low;
    const int steps = count() <= 8 ? 6 : 4;
    const double shrink = count() <= 4 ? 0.05 : count() <= 8 ? 0.03 : 0.02;
    for (int below = 0; below < steps; ++below) {
      for (int above = 0; above < steps; ++above) {
        const double start = *low + shrink * below * range;
        try_range(*this, x, weights, rounded((*high - shrink * above * range - start) / last, start), best);
      }
    }
    return best.scale;
  }
  const double extreme = std::fabs(*low) > std::fabs(*high) ? *low : *high;
  const int steps = count() <= 16 ? 12 : count() <= 32 ? 8 : 4;
  for (int step = 0; step < steps; ++step) {
    const double shrunken = extreme * (1.05 - (count() <= 16 ? 0.03 : 0.02) * step);
    try_range(*this, x, weights, rounded(shrunken / (has_signed_scale_ || shrunken < 0 ? first : last), 0), best);
    if (has_signed_scale_) try_range(*this, x, weights, rounded(shrunken / last, 0), best);
  }
  return best.scale;
}

}  // namespace hack::svd
