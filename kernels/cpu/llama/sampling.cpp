#include "kernels/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace hack::kernels {

namespace {

int choose(const SamplingRule& rule, const float* logits, index_t vocabulary, double draw) {
  const float* largest = std::max_element(logits, logits + vocabulary);
  if (rule.temperature == 0) return static_cast<int>(largest - logits);

  std::vector<int> order(static_cast<std::size_t>(vocabulary));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  if (rule.top_k > 0) order.resize(static_cast<std::size_t>(std::min(rule.top_k, vocabulary)));
  std::vector<double> weights(order.size());
  double total = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    weights[i] = std::exp((static_cast<double>(logits[order[i]]) - *largest) / rule.temperature);
    total += weights[i];
  }
  // The smallest set of likeliest tokens that holds top_p; the likeliest always stays.
  double kept = 0;
  std::size_t count = 0;
  while (count < order.size() && (count == 0 || kept < rule.top_p * total)) kept += weights[count++];
  while (count > 1 && weights[count - 1] < rule.min_p) kept -= weights[--count];
  double left = draw * kept;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    if (left < weights[i]) return order[i];
    left -= weights[i];
  }
  return order[count - 1];
}

}  // namespace

template <>
void choose_token<Device::cpu>(Queue<Device::cpu>&, const SamplingRule& rule, MatrixView<float> logits,
                               std::uint8_t* seen, DecodeState* state) {
  HACK_EXPECT(logits.rows == 1 && logits.cols > 0);
  if (rule.repetition_penalty != 1) {
    const auto penalty = static_cast<float>(rule.repetition_penalty);
    for (index_t id = 0; id < logits.cols; ++id) {
      float& logit = logits.data[id];
      if (seen[id] != 0) logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
  state->id = choose(rule, logits.data, logits.cols, state->draw);
  seen[state->id] = 1;
  ++state->position;
}

}  // namespace hack::kernels
