#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/codec.hpp"

namespace hack::svd {

/// What the numbers of a block share.
struct BlockScale {
  float scale = 0;    ///< d
  float minimum = 0;  ///< m; 0 where the format has none

  bool operator==(const BlockScale&) const = default;
};

/// The numbers that a block of a codec can hold: code q of a block with scale d and minimum m stands for d L_q + m,
/// with levels L_0 < L_1 < … that follow from the codec's row of codec_specs; d and m are in f16, or a ShiftedScale.
class BlockGrid {
 public:
  /// `codec` has blocks.
  explicit BlockGrid(Codec codec);

  index_t block() const { return block_; }
  bool has_minimum() const { return has_minimum_; }
  bool has_signed_scale() const { return has_signed_scale_; }
  int count() const { return static_cast<int>(levels_.size()); }
  double level(int code) const { return levels_[static_cast<std::size_t>(code)]; }

  /// The code whose level is nearest to x, which is finite; the lower one of two.
  int nearest(double x) const;

  /// The code that comes nearest to x with this scale.
  int code_of(double x, const BlockScale& scale) const {
    return nearest(scale.scale == 0 ? 0.0 : (x - scale.minimum) / scale.scale);
  }

  /// What a code stands for, exactly.
  double value_of(int code, const BlockScale& scale) const {
    return static_cast<double>(scale.scale) * level(code) + static_cast<double>(scale.minimum);
  }

  /// Scale and minimum as they are stored.
  BlockScale rounded(double scale, double minimum) const;

  /// The m as it is stored, of a block with this d, which is as stored.
  float rounded_minimum(double minimum, float scale) const;

  /// Returns the scale with which the nearest codes leave least of Σ_c weights_c (x_c - d L_q - m)² among ranges that
  /// are shrunken step by step, the best of them fitted to their codes by least squares; x at most a block, finite.
  BlockScale find(std::span<const double> x, std::span<const double> weights) const;

 private:
  index_t block_ = 32;
  bool has_minimum_ = false;
  bool has_signed_scale_ = false;
  bool is_shifted_ = false;
  bool is_even_ = true;          // levels follow each other by 1
  std::vector<double> levels_;   // (count)
  std::vector<double> borders_;  // (count - 1) midpoints
};

}  // namespace hack::svd
