#include "model/evaluate/divergence_summary.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

namespace hack::model {
namespace {

MeanOfTokens mean_of(std::span<const double> values) {
  if (values.empty()) return {};
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

/// The value below which `share` of the sorted ones lie.
double quantile(std::span<const double> sorted, double share) {
  if (sorted.empty()) return 0;
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

}  // namespace

void TokenDivergences::add(const kernels::PartialDivergence& whole) {
  divergences_.push_back(kernels::divergence(whole));
  same_top_.push_back(kernels::has_same_top(whole) ? 1 : 0);
}

DivergenceSummary TokenDivergences::summary(const std::vector<std::vector<float>>& reference_losses,
                                            const std::vector<std::vector<float>>& losses) const {
  std::vector<double> differences;
  for (std::size_t w = 0; w < losses.size(); ++w) {
    for (std::size_t t = 0; t < losses[w].size(); ++t) {
      differences.push_back(static_cast<double>(losses[w][t]) - reference_losses[w][t]);
    }
  }
  std::vector<double> sorted = divergences_;
  std::sort(sorted.begin(), sorted.end());
  return {.mean = mean_of(divergences_),
          .quantile_90 = quantile(sorted, 0.9),
          .quantile_99 = quantile(sorted, 0.99),
          .quantile_999 = quantile(sorted, 0.999),
          .maximum = sorted.empty() ? 0 : sorted.back(),
          .same_top = mean_of(same_top_),
          .ln_perplexity = mean_of(differences)};
}

}  // namespace hack::model
