#pragma once

#include <vector>

#include "kernels/divergence.hpp"

namespace hack::model {

/// A mean over tokens and its standard error, from their spread.
struct MeanOfTokens {
  double value = 0;
  double standard_error = 0;
};

/// How a model's next-token distributions differ from a reference's over the scored tokens of a text. The divergence of
/// a token is KL(reference || model) in nats. Quantiles interpolate between neighbours, as llama.cpp's do.
struct DivergenceSummary {
  MeanOfTokens mean;
  double quantile_90 = 0;   ///< 90 % of the tokens diverge by less
  double quantile_99 = 0;   ///< 99 %
  double quantile_999 = 0;  ///< 99.9 %
  double maximum = 0;
  MeanOfTokens same_top;       ///< share of tokens after which both models expect the same next one most
  MeanOfTokens ln_perplexity;  ///< the model's less the reference's, token by token: the error is the difference's own
};

/// Collects the tokens of a text.
class TokenDivergences {
 public:
  /// The next token, as the whole vocabulary's parts say.
  void add(const kernels::PartialDivergence& whole);

  /// Of all tokens added. Losses (of each window, in nats) are of the same tokens.
  DivergenceSummary summary(const std::vector<std::vector<float>>& reference_losses,
                            const std::vector<std::vector<float>>& losses) const;

 private:
  std::vector<double> divergences_;
  std::vector<double> same_top_;  // 1 or 0
};

}  // namespace hack::model
