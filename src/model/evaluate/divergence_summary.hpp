#pragma once

#include <array>
#include <vector>

#include "kernels/divergence.hpp"

namespace hack::model {

/// A mean over tokens and its standard error, from their spread.
struct MeanOfTokens {
  double value = 0;
  double standard_error = 0;
};

/// Shares of the tokens that lie below a Quantiles' values: from the least to the largest, the median in the middle.
inline constexpr std::array quantile_shares = {0.0,  0.001, 0.01, 0.05, 0.1,   0.25, 0.5,
                                               0.75, 0.9,   0.95, 0.99, 0.999, 1.0};
using Quantiles = std::array<double, quantile_shares.size()>;

/// How a model's next-token distributions differ from a reference's over the scored tokens of a text, in the figures of
/// `llama-perplexity --kl-divergence`. The divergence of a token is KL(reference || model) in nats, and Δp the model's
/// probability of the token that followed less the reference's. Quantiles interpolate between neighbours.
struct DivergenceSummary {
  MeanOfTokens mean;  ///< of the divergence
  Quantiles quantiles{};
  MeanOfTokens same_top;               ///< share of tokens after which both expect the same next one most
  MeanOfTokens probability;            ///< mean of Δp
  MeanOfTokens probability_rms;        ///< root of its mean square
  Quantiles probability_quantiles{};   ///< of Δp
  MeanOfTokens model_ln_perplexity;    ///< mean loss
  MeanOfTokens reference_perplexity;   ///< exp of the reference's
  MeanOfTokens ln_perplexity;          ///< the model's less the reference's, token by token: the difference's own error
  MeanOfTokens perplexity_ratio;       ///< exp of that difference
  MeanOfTokens perplexity_difference;  ///< the model's perplexity less the reference's
  double correlation = 0;              ///< of the losses of both

  /// The quantile of one of quantile_shares.
  static double at(const Quantiles& quantiles, double share);
};

/// Collects the tokens of a text.
class TokenDivergences {
 public:
  /// The next token, as the whole vocabulary's parts say.
  void add(const kernels::PartialDivergence& whole);
  void add(double divergence, bool has_same_top);

  /// Of all tokens added. Losses (of each window, in nats) are of the same tokens.
  DivergenceSummary summary(const std::vector<std::vector<float>>& reference_losses,
                            const std::vector<std::vector<float>>& losses) const;

 private:
  std::vector<double> divergences_;
  std::vector<double> same_top_;  // 1 or 0
};

}  // namespace hack::model
