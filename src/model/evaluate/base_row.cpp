#include "model/evaluate/base_row.hpp"

#include <algorithm>
#include <cmath>

namespace hack::model {
namespace {

/// Nats below the likeliest token at which llama.cpp's range begins, and log probability below which it skips a token.
constexpr float kept_range = 16;
constexpr float levels = 65535;

float lowest_kept(const PartialLogits& whole) { return std::max(whole.minimum, whole.maximum - kept_range); }

double log_sum(const PartialLogits& whole) { return std::log(whole.sum); }

}  // namespace

PartialLogits part_of(std::span<const float> logits, index_t first_id, index_t target, const BaseRow& base) {
  PartialLogits part;
  for (index_t i = 0; i < std::ssize(logits); ++i) {
    if (logits[i] > part.maximum) part.top = first_id + i;
    part.maximum = std::max(part.maximum, logits[i]);
    part.minimum = std::min(part.minimum, logits[i]);
  }
  for (const float logit : logits) part.sum += std::exp(logit - part.maximum);
  if (target >= first_id && target < first_id + std::ssize(logits)) part.target = logits[target - first_id];
  if (base.codes.empty()) return part;
  for (index_t i = 0; i < std::ssize(logits); ++i) {
    const index_t id = first_id + i;
    if (base.codes[id] > part.base_code) {
      part.base_code = base.codes[id];
      part.base_top = id;
    }
    const float log_p = base.log_probability(id);
    if (log_p <= -kept_range) continue;
    const double p = std::exp(log_p);
    part.base_sum += p;
    part.gap += p * (static_cast<double>(log_p) - logits[i]);
  }
  return part;
}

PartialLogits join(const PartialLogits& a, const PartialLogits& b) {
  const float maximum = std::max(a.maximum, b.maximum);
  const auto moved = [&](const PartialLogits& part) {
    return part.sum > 0 ? part.sum * std::exp(static_cast<double>(part.maximum) - maximum) : 0.0;
  };
  const PartialLogits& first = a.top < 0 || (b.top >= 0 && b.top < a.top) ? b : a;
  const PartialLogits& second = &first == &a ? b : a;
  const PartialLogits& top = second.maximum > first.maximum ? second : first;
  const PartialLogits& base_top = second.base_code > first.base_code ? second : first;
  return {.maximum = maximum,
          .minimum = std::min(a.minimum, b.minimum),
          .target = std::max(a.target, b.target),
          .base_code = base_top.base_code,
          .top = top.top,
          .base_top = base_top.base_top,
          .sum = moved(a) + moved(b),
          .base_sum = a.base_sum + b.base_sum,
          .gap = a.gap + b.gap};
}

float loss_of(const PartialLogits& whole) { return static_cast<float>(whole.maximum + log_sum(whole) - whole.target); }

float divergence_of(const PartialLogits& whole) {
  return static_cast<float>(whole.gap + whole.base_sum * (whole.maximum + log_sum(whole)));
}

BaseRow row_of(const PartialLogits& whole) {
  const float lowest = lowest_kept(whole);
  return {.scale = (whole.maximum - lowest) / levels,
          .minimum = lowest - whole.maximum - static_cast<float>(log_sum(whole)),
          .codes = {}};
}

void encode(const PartialLogits& whole, std::span<const float> logits, std::span<std::uint16_t> codes) {
  const float lowest = lowest_kept(whole);
  const float scale = (whole.maximum - lowest) / levels;
  const float inverse = scale > 0 ? 1 / scale : 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    // Ties to even, as llama.cpp rounds.
    const float level = std::nearbyint(inverse * (std::max(logits[i], lowest) - lowest));
    codes[i] = static_cast<std::uint16_t>(std::min(level, levels));
  }
}

}  // namespace hack::model
