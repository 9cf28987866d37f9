#pragma once

#include <vector>

#include "kernels/matrix_view.hpp"
#include "svd/tile/range.hpp"
#include "svd/tile/stored_tile.hpp"

namespace hack::svd {

/// The numbers of a stored term of low rank, as it is trained: a term (h, w) of rank k >= 1 is the product L R of
///
///     low rank          L = U diag(√σ) (h, k)                    R = diag(√σ) Vᵀ (k, w)
///     interpolative     L: unit vectors where a row is marked,   R = P (k, w)
///                       rows of C (h - k, k) elsewhere
///
/// The parameters are the numbers of L without unit vectors, then those of R. The product is made of what the
/// parameters become when they are stored: U and Vᵀ, or C and P, rounded to their codec; σ and the marks stay.
/// Gradients pass the rounding as if it were not there (Bengio et al. 2013, arXiv 1308.3432). On the host.
class FactorParameters {
 public:
  /// `term` is of low rank or interpolative, its rank at least 1.
  explicit FactorParameters(StoredTerm term);

  /// How many parameters a term of this structure and shape has.
  static constexpr index_t count(Structure structure, index_t h, index_t w, index_t k) {
    return structure == Structure::interpolative ? k * (h + w - k) : k * (h + w);
  }
  index_t count() const { return count(term_.structure, term_.height, term_.width, term_.rank); }
  index_t height() const { return term_.height; }
  index_t width() const { return term_.width; }
  index_t rank() const { return term_.rank; }

  /// Writes the parameters that stand for the term as it is stored.
  void start(float* parameters) const;

  /// Writes L (h, k) and R (k, w) as they are when the parameters have been stored.
  void round(const float* parameters, MatrixView<float> left, MatrixView<float> right) const;

  /// Adds the gradients of some rows of L (rows, k) and some columns of R (k, cols) to those of the parameters.
  void add_gradients(Range rows, MatrixView<const float> left, Range cols, MatrixView<const float> right,
                     float* gradients) const;

  /// The term whose numbers are the parameters. An Error where they do not fit the codec.
  StoredTerm encoded(const float* parameters) const;

 private:
  bool is_interpolative() const { return term_.structure == Structure::interpolative; }
  index_t left_rows() const { return is_interpolative() ? term_.height - term_.rank : term_.height; }
  /// One of the two arrays divided by what stays, as it is encoded.
  std::vector<float> unscaled(std::size_t array, const float* parameters) const;
  void encode(std::size_t array, const float* parameters, std::byte* codes, std::byte* scales) const;
  std::vector<float> rounded(std::size_t array, const float* parameters) const;

  StoredTerm term_;
  std::vector<float> roots_;          // (k) √σ; 1 of an interpolative term
  std::vector<index_t> row_of_left_;  // (h) which row of L's parameters; of an interpolative term's unit vector l: ~l
};

}  // namespace hack::svd
