#include "model/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.hpp"

namespace hack::model {

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {
  validate(options.temperature >= 0, "--temperature {} must not be negative", options.temperature);
  validate(options.top_p > 0 && options.top_p <= 1, "--top-p {} must lie in (0, 1]", options.top_p);
  validate(options.repetition_penalty > 0, "--repetition-penalty {} must be above 0", options.repetition_penalty);
}

// std::uniform_real_distribution differs between standard libraries; 53 bits of the generator do not.
double Sampler::uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

int Sampler::choose(std::vector<float>& logits, std::span<const int> seen) {
  HACK_EXPECT(!logits.empty());
  if (options_.repetition_penalty != 1) {
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    std::vector<int> ids(seen.begin(), seen.end());
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (int id : ids) logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
  }
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (options_.temperature == 0) return static_cast<int>(largest - logits.begin());

  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  std::vector<double> weights(logits.size());
  double total = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    weights[i] = std::exp((static_cast<double>(logits[order[i]]) - *largest) / options_.temperature);
    total += weights[i];
  }
  // The smallest set of likeliest tokens that holds top_p; the likeliest always stays.
  double kept = 0;
  std::size_t count = 0;
  while (count < order.size() && (count == 0 || kept < options_.top_p * total)) kept += weights[count++];
  double left = uniform() * kept;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    if (left < weights[i]) return order[i];
    left -= weights[i];
  }
  return order[count - 1];
}

}  // namespace hack::model
