#include "model/evaluate/divergence_summary.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "kernels/error.hpp"

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

Quantiles quantiles_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  Quantiles out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = quantile(values, quantile_shares[i]);
  return out;
}

/// The root of a mean square, by the first order of its error.
MeanOfTokens root_mean_square(std::span<const double> values) {
  std::vector<double> squares(values.begin(), values.end());
  for (double& value : squares) value *= value;
  const MeanOfTokens mean = mean_of(squares);
  const double root = std::sqrt(mean.value);
  return {root, root > 0 ? 0.5 / root * mean.standard_error : 0};
}

MeanOfTokens exponential(const MeanOfTokens& mean) {
  const double value = std::exp(mean.value);
  return {value, value * mean.standard_error};
}

std::vector<double> flat(const std::vector<std::vector<float>>& windows) {
  std::vector<double> out;
  for (const std::vector<float>& window : windows) out.insert(out.end(), window.begin(), window.end());
  return out;
}

/// Covariance of the means of two numbers a token.
double covariance_of_means(std::span<const double> a, std::span<const double> b) {
  const double mean_a = mean_of(a).value, mean_b = mean_of(b).value;
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - mean_a) * (b[i] - mean_b);
  const auto n = static_cast<double>(a.size());
  return n > 1 ? sum / n / (n - 1) : 0;
}

/// What two models' losses of the same tokens say.
void compare_losses(std::span<const double> reference, std::span<const double> model, DivergenceSummary& out) {
  std::vector<double> differences, probabilities;
  for (std::size_t i = 0; i < model.size(); ++i) {
    differences.push_back(model[i] - reference[i]);
    probabilities.push_back(std::exp(-model[i]) - std::exp(-reference[i]));
  }
  out.probability = mean_of(probabilities);
  out.probability_rms = root_mean_square(probabilities);
  out.probability_quantiles = quantiles_of(probabilities);
  out.model_ln_perplexity = mean_of(model);
  const MeanOfTokens ln_reference = mean_of(reference);
  out.reference_perplexity = exponential(ln_reference);
  out.ln_perplexity = mean_of(differences);
  out.perplexity_ratio = exponential(out.ln_perplexity);
  const double covariance = covariance_of_means(reference, model);
  const double spread = out.model_ln_perplexity.standard_error * ln_reference.standard_error;
  out.correlation = spread > 0 ? covariance / spread : 0;
  const MeanOfTokens a = exponential(out.model_ln_perplexity), b = out.reference_perplexity;
  const double variance =
      a.standard_error * a.standard_error + b.standard_error * b.standard_error - 2 * a.value * b.value * covariance;
  out.perplexity_difference = {a.value - b.value, std::sqrt(std::max(0.0, variance))};
}

}  // namespace

double DivergenceSummary::at(const Quantiles& quantiles, double share) {
  const auto found = std::find(quantile_shares.begin(), quantile_shares.end(), share);
  HACK_EXPECT(found != quantile_shares.end());
  return quantiles[static_cast<std::size_t>(found - quantile_shares.begin())];
}

void TokenDivergences::add(const kernels::PartialDivergence& whole) {
  add(kernels::divergence(whole), kernels::has_same_top(whole));
}

void TokenDivergences::add(double divergence, bool has_same_top) {
  divergences_.push_back(divergence);
  same_top_.push_back(has_same_top ? 1 : 0);
}

DivergenceSummary TokenDivergences::summary(const std::vector<std::vector<float>>& reference_losses,
                                            const std::vector<std::vector<float>>& losses) const {
  DivergenceSummary out;
  out.mean = mean_of(divergences_);
  out.quantiles = quantiles_of(divergences_);
  out.same_top = mean_of(same_top_);
  const std::vector<double> reference = flat(reference_losses), model = flat(losses);
  HACK_EXPECT(reference.size() == model.size());
  if (!model.empty()) compare_losses(reference, model, out);
  return out;
}

}  // namespace hack::model
