#pragma once

#include <limits>

namespace hack::kernels {

/// What one rank knows, over its slice of the vocabulary, of how two next-token distributions diverge. With l_i and m_i
/// the logits of reference and state, parts of several slices join as
///
///     maxima   the largest
///     at_top   that of the slice with the reference's maximum; of several, the largest
///     sums     Σ sum · exp(maximum - joint maximum), the gap's with the reference's maximum
///
/// An empty slice is what the defaults are.
struct PartialDivergence {
  float reference_maximum = -std::numeric_limits<float>::infinity();  ///< max l_i
  float maximum = -std::numeric_limits<float>::infinity();            ///< max m_i
  float at_top = -std::numeric_limits<float>::infinity();             ///< max m_i of those i where l_i is the largest
  double reference_sum = 0;                                           ///< Σ exp(l_i - reference_maximum)
  double sum = 0;                                                     ///< Σ exp(m_i - maximum)
  double gap = 0;                                                     ///< Σ exp(l_i - reference_maximum) (l_i - m_i)
};

}  // namespace hack::kernels
