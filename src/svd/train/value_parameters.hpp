#pragma once

#include <vector>

#include "kernels/matrix_view.hpp"
#include "svd/tile/stored_tile.hpp"

namespace hack::svd {

/// The numbers of a stored dense term (h, w), as it is trained. In a codec with blocks these are what the blocks share,
/// while the codes stay: number i of a block is d L(q_i) + m, and with parameters s and t of a block
///
///     d = d⁰ (1 + s),     m = m⁰ + |d⁰| (L_last - L_first) t,     both rounded as they are stored
///
/// The parameters are s (h, blocks), then t (h, blocks) where the codec has minima; all begin at 0. A dense term in any
/// other codec has none: its values stay. Gradients pass the rounding as if it were not there. On the host.
class ValueParameters {
 public:
  /// `term` is dense.
  explicit ValueParameters(StoredTerm term);

  /// How many parameters a dense term of this codec and shape has.
  static constexpr index_t count(Codec codec, index_t h, index_t w) {
    if (spec_of(codec).block == 0) return 0;
    return h * blocks_of(codec, w) * (has_minima(codec) ? 2 : 1);
  }
  index_t count() const { return count(term_.codec, term_.height, term_.width); }
  index_t height() const { return term_.height; }
  index_t width() const { return term_.width; }

  void start(float* parameters) const;

  /// Writes the values as they are when the parameters have been stored; out (h, w).
  void round(const float* parameters, MatrixView<float> out) const;

  /// Adds to the gradients of the parameters what the gradient of the values (h, w) says.
  void add_gradients(MatrixView<const float> values, float* gradients) const;

  /// The term whose scales and minima the parameters stand for.
  StoredTerm encoded(const float* parameters) const;

 private:
  /// Of a block, widened: a number is scale · level + minimum.
  struct Shared {
    float scale = 0;
    float minimum = 0;
  };

  index_t blocks() const { return blocks_of(term_.codec, term_.width); }
  Shared stored(index_t row, index_t block) const;
  /// Writes the scale of a block as it is stored.
  void put(const float* parameters, index_t row, index_t block, std::byte* to) const;
  std::vector<std::byte> scales(const float* parameters) const;

  StoredTerm term_;
  float span_ = 0;  ///< L_last - L_first
};

}  // namespace hack::svd
