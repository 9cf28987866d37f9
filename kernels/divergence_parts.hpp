#pragma once

namespace hack::kernels {

/// What one rank knows, over its slice of the vocabulary, of how two next-token distributions diverge. With l_i and m_i
/// the logits of reference and state, parts of several slices join as
///
///     maxima   the largest
///     sums     Σ sum · exp(maximum - joint maximum), the gap's with the reference's maximum
///
/// An empty slice has maxima of -infinity and sums of 0.
struct PartialDivergence {
  float reference_maximum;  ///< max l_i
  float maximum;            ///< max m_i
  double reference_sum;     ///< Σ exp(l_i - reference_maximum)
  double sum;               ///< Σ exp(m_i - maximum)
  double gap;               ///< Σ exp(l_i - reference_maximum) (l_i - m_i)
};

}  // namespace hack::kernels
