#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "kernels/dtype.hpp"

namespace hack::model {

/// A next-token distribution as llama.cpp's file of base logits keeps it: log p_i ≈ minimum + scale · code_i. The range
/// of 65,536 levels ends with the likeliest token and begins at the least likely one, at most 16 nats below.
struct BaseRow {
  float scale = 0;
  float minimum = 0;
  std::span<const std::uint16_t> codes;  // (vocabulary)

  float log_probability(index_t id) const { return scale * static_cast<float>(codes[id]) + minimum; }
};

/// What one rank knows, over its slice of the vocabulary, of a token's logits, and of how far they are from a base.
/// Parts of several slices join; an empty slice is what the defaults are.
struct PartialLogits {
  float maximum = -std::numeric_limits<float>::infinity();
  float minimum = std::numeric_limits<float>::infinity();
  float target = -std::numeric_limits<float>::infinity();  ///< logit of the token that followed
  std::int32_t base_code = -1;                             ///< the base's largest
  std::int64_t top = -1;                                   ///< first id of the largest logit
  std::int64_t base_top = -1;                              ///< first id of the base's largest code
  double sum = 0;                                          ///< Σ exp(l_i - maximum)
  double base_sum = 0;  ///< Σ p_i over those ids that the base gives more than e^-16
  double gap = 0;       ///< Σ p_i (log p_i - l_i) over the same ids
};

/// Of the logits of ids first_id…; `base` is of the whole vocabulary, or has no codes.
PartialLogits part_of(std::span<const float> logits, index_t first_id, index_t target, const BaseRow& base = {});
PartialLogits join(const PartialLogits& a, const PartialLogits& b);

/// -log q of the token that followed.
float loss_of(const PartialLogits& whole);
/// Σ p_i (log p_i - log q_i) over the ids that the base p gives more than e^-16, as llama.cpp takes it: near 0 it may
/// be some 1e-4 below 0.
float divergence_of(const PartialLogits& whole);
/// Whether base and model expect the same token most.
inline bool has_same_top(const PartialLogits& whole) { return whole.top == whole.base_top; }

/// Scale and minimum of the row that keeps these logits.
BaseRow row_of(const PartialLogits& whole);
/// Codes of a slice of the logits in that row.
void encode(const PartialLogits& whole, std::span<const float> logits, std::span<std::uint16_t> codes);

}  // namespace hack::model
