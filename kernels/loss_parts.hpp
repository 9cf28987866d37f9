#pragma once

namespace hack::kernels {

/// What one rank knows of softmax cross-entropy over its slice of the vocabulary, per token. Over all ranks:
/// m = max maxima, s = Σ sums · exp(maxima - m), loss = m + log s - Σ target_logits.
struct PartialLoss {
  float maximum;       ///< largest logit of the slice; -infinity for an empty slice
  float sum;           ///< Σ exp(logit - maximum) over the slice
  float target_logit;  ///< the target's logit if it lies in the slice, else 0
};

}  // namespace hack::kernels
