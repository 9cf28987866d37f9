#include "svd/tile/block_grid.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

/// Rounds to f16; what is too large to the largest.
float round_half(double x) { return to_float(to_f16(static_cast<float>(std::clamp(x, -65504.0, 65504.0)))); }

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

BlockGrid::BlockGrid(Codec codec) {
  const CodecSpec& spec = spec_of(codec);
  HACK_EXPECT(spec.block > 0);
  block_ = spec.block;
  has_minimum_ = has_minima(codec);
  has_signed_scale_ = spec.has_signed_scales && !has_minimum_;
  is_shifted_ = spec.is_shifted;
  is_even_ = spec.levels.empty();
  const double unit = is_shifted_ ? ShiftedScale::unit : 1;
  for (const std::int8_t level : spec.levels) levels_.push_back(level / unit);
  if (is_even_) {
    // -128 of q8_0 is left out, as GGML does.
    const int first = spec.code_bits == 8 ? -127 : -spec.zero;
    const int count = (1 << spec.code_bits) - (spec.code_bits == 8 ? 1 : 0);
    for (int q = 0; q < count; ++q) levels_.push_back(first + q);
  }
  HACK_EXPECT(is_even_ || std::has_single_bit(levels_.size()));  // nearest() halves them
  for (std::size_t q = 0; q + 1 < levels_.size(); ++q) borders_.push_back((levels_[q] + levels_[q + 1]) / 2);
}

int BlockGrid::nearest(double x) const {
  if (is_even_) return static_cast<int>(std::clamp(std::ceil(x - levels_[0] - 0.5), 0.0, count() - 1.0));
  // How many borders are below x, by halves; without branches, which would be guessed wrongly half of the time.
  std::size_t code = 0;
  for (std::size_t step = levels_.size() / 2; step > 0; step /= 2) code += x > borders_[code + step - 1] ? step : 0;
  return static_cast<int>(code);
}

float BlockGrid::rounded_minimum(double minimum, float scale) const {
  if (!has_minimum_) return 0;
  if (!is_shifted_) return round_half(minimum);
  return ShiftedScale::nearest(scale, static_cast<float>(minimum)).minimum();
}

BlockScale BlockGrid::rounded(double scale, double minimum) const {
  if (!has_signed_scale_) scale = std::max(scale, 0.0);
  const float d = is_shifted_ ? to_float(ShiftedScale::nearest(static_cast<float>(scale), 0).d) : round_half(scale);
  return {d, rounded_minimum(minimum, d)};
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
  scale.minimum = grid.rounded_minimum((sums.wx - scale.scale * sums.wl) / sums.w, scale.scale);
  return scale;
}

/// The ranges that were tried, of which those that leave least are gone on with.
class Ranges {
 public:
  Ranges(const BlockGrid& grid, std::span<const double> x, std::span<const double> weights)
      : grid_(grid), x_(x), weights_(weights) {}

  void add(const BlockScale& scale) {
    Candidate next{scale, 0};
    for (std::size_t c = 0; c < x_.size(); ++c) {
      const double rest = x_[c] - grid_.value_of(grid_.code_of(x_[c], scale), scale);
      next.error += weights_[c] * rest * rest;
    }
    for (Candidate& candidate : best_) {
      if (next.error < candidate.error) std::swap(next, candidate);
    }
  }

  /// The best of all, and of what steps of least squares make of the best three.
  BlockScale best() const {
    Candidate best;
    for (const Candidate& candidate : best_) {
      if (candidate.error < HUGE_VAL) improve(candidate.scale, best);
    }
    return best.scale;
  }

 private:
  void improve(BlockScale scale, Candidate& best) const;

  const BlockGrid& grid_;
  std::span<const double> x_, weights_;
  std::array<Candidate, 3> best_;  // in order
};

/// Takes the start and what two steps of least squares make of it, if one of them is better.
void Ranges::improve(BlockScale scale, Candidate& best) const {
  Moments sums;
  for (int step = 0; step < 3; ++step) {
    const double error = measure(grid_, x_, weights_, scale, sums);
    if (error < best.error) best = {scale, error};
    const BlockScale next = solve(grid_, sums);
    if (next == scale) return;
    scale = next;
  }
}

}  // namespace

BlockScale BlockGrid::find(std::span<const double> x, std::span<const double> weights) const {
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  const double last = levels_.back(), first = levels_.front();
  Ranges ranges(*this, x, weights);
  const double extreme = std::fabs(*low) > std::fabs(*high) ? *low : *high;
  if (has_minimum_) {
    const double range = *high - *low;
    constexpr int steps = 4;
    const double shrink = count() > 8 ? 0.02 : 0.05;  // the fewer the levels, the more is left outside of them
    for (int below = 0; below < steps; ++below) {
      for (int above = 0; above < steps; ++above) {
        const double start = *low + shrink * below * range;
        const double d = (*high - shrink * above * range - start) / (last - first);
        ranges.add(rounded(d, start - d * first));
      }
    }
    // A shift does not reach far: of numbers that are all alike the first or the last level is taken.
    if (is_shifted_) ranges.add(rounded(std::fabs(extreme) / last, 0));
    return ranges.best();
  }
  const int steps = count() <= 16 ? 12 : count() <= 32 ? 8 : 4;
  for (int step = 0; step < steps; ++step) {
    const double shrunken = extreme * (1.05 - (count() <= 16 ? 0.03 : 0.02) * step);
    ranges.add(rounded(shrunken / (has_signed_scale_ || shrunken < 0 ? first : last), 0));
    if (has_signed_scale_) ranges.add(rounded(shrunken / last, 0));
  }
  return ranges.best();
}

}  // namespace hack::svd
