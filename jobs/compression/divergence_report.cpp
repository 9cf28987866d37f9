#include "jobs/compression/divergence_report.hpp"

#include <cmath>
#include <string>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace hack::jobs {
namespace {

using model::MeanOfTokens;
using model::quantile_shares;
using model::Quantiles;

void add_mean(nlohmann::json& out, const std::string& name, const MeanOfTokens& mean) {
  out[name] = mean.value;
  out[name + "_stderr"] = mean.standard_error;
}

/// Of a share: "99.9", or the word that stands for it.
std::string name_of(double share) {
  if (share == 0) return "minimum";
  if (share == 0.5) return "median";
  if (share == 1) return "maximum";
  return fmt::format("{:g}", 100 * share);
}

void add_quantiles(nlohmann::json& out, const std::string& name, const Quantiles& quantiles) {
  for (std::size_t i = 0; i < quantiles.size(); ++i) out[name + "_" + name_of(quantile_shares[i])] = quantiles[i];
}

void print_mean(const char* name, const MeanOfTokens& mean) {
  fmt::print("{:<30}: {:10.6f} ± {:10.6f}\n", name, mean.value, mean.standard_error);
}

/// Label of a quantile as llama.cpp pads it.
std::string label_of(double share) {
  if (share == 0) return "Minimum";
  if (share == 0.5) return "Median ";
  if (share == 1) return "Maximum";
  return fmt::format("{:4.1f}%  ", 100 * share);
}

}  // namespace

nlohmann::json describe(const model::DivergenceSummary& divergence) {
  nlohmann::json out;
  add_mean(out, "divergence", divergence.mean);
  add_quantiles(out, "divergence", divergence.quantiles);
  add_mean(out, "same_top", divergence.same_top);
  add_mean(out, "probability_difference", divergence.probability);
  add_mean(out, "probability_difference_rms", divergence.probability_rms);
  add_quantiles(out, "probability_difference", divergence.probability_quantiles);
  add_mean(out, "perplexity_base", divergence.reference_perplexity);
  add_mean(out, "ln_perplexity_difference", divergence.ln_perplexity);
  add_mean(out, "perplexity_ratio", divergence.perplexity_ratio);
  add_mean(out, "perplexity_difference", divergence.perplexity_difference);
  out["ln_perplexity_correlation"] = divergence.correlation;
  return out;
}

void print(const model::DivergenceSummary& divergence) {
  const double perplexity = std::exp(divergence.model_ln_perplexity.value);
  fmt::print("\n====== Perplexity statistics ======\n");
  print_mean("Mean PPL(Q)", {perplexity, perplexity * divergence.model_ln_perplexity.standard_error});
  print_mean("Mean PPL(base)", divergence.reference_perplexity);
  fmt::print("{:<30}: {:6.2f}%\n", "Cor(ln(PPL(Q)), ln(PPL(base)))", 100 * divergence.correlation);
  print_mean("Mean ln(PPL(Q)/PPL(base))", divergence.ln_perplexity);
  print_mean("Mean PPL(Q)/PPL(base)", divergence.perplexity_ratio);
  print_mean("Mean PPL(Q)-PPL(base)", divergence.perplexity_difference);

  fmt::print("\n====== KL divergence statistics ======\n");
  fmt::print("Mean    KLD: {:10.6f} ± {:10.6f}\n", divergence.mean.value, divergence.mean.standard_error);
  for (std::size_t i = quantile_shares.size(); i-- > 0;) {
    if (quantile_shares[i] == 0.25 || quantile_shares[i] == 0.75) continue;
    fmt::print("{} KLD: {:10.6f}\n", label_of(quantile_shares[i]), divergence.quantiles[i]);
  }

  fmt::print("\n====== Token probability statistics ======\n");
  fmt::print("Mean    Δp: {:6.3f} ± {:5.3f} %\n", 100 * divergence.probability.value,
             100 * divergence.probability.standard_error);
  for (std::size_t i = quantile_shares.size(); i-- > 0;) {
    fmt::print("{} Δp: {:6.3f}%\n", label_of(quantile_shares[i]), 100 * divergence.probability_quantiles[i]);
  }
  fmt::print("RMS Δp    : {:6.3f} ± {:5.3f} %\n", 100 * divergence.probability_rms.value,
             100 * divergence.probability_rms.standard_error);
  fmt::print("Same top p: {:6.3f} ± {:5.3f} %\n", 100 * divergence.same_top.value,
             100 * divergence.same_top.standard_error);
}

}  // namespace hack::jobs
