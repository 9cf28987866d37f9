#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "kernels/sampling.hpp"

namespace hack::model {

/// How the next token is chosen.
struct SamplerOptions {
  double temperature = 0;         ///< 0: the likeliest token
  double top_p = 1;               ///< keep the likeliest tokens that together hold this much probability
  index_t top_k = 0;              ///< draw from so many of the likeliest tokens; 0: from all
  double min_p = 0;               ///< leave out tokens less probable than this share of the likeliest one's
  double repetition_penalty = 1;  ///< logits of tokens already seen are divided (if > 0) or multiplied (if < 0) by it
  std::uint64_t seed = 0;
};

/// Chooses tokens from logits; the same options and logits give the same tokens on every machine.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options);

  /// `seen`: prompt and text so far. logits (vocabulary) are changed. Of equal logits the lowest id wins.
  int choose(std::vector<float>& logits, std::span<const int> seen) { return choose(logits, seen, draw()); }
  /// The same with a number that draw() returned.
  int choose(std::vector<float>& logits, std::span<const int> seen, double draw);

  kernels::SamplingRule rule() const {
    return {options_.temperature, options_.top_p, options_.repetition_penalty, options_.top_k, options_.min_p};
  }
  /// Whether the rule is one that GPUs follow; the choice is the host's otherwise.
  bool is_for_devices() const { return options_.top_k == 0 && options_.min_p == 0; }
  /// The number that choose() would draw; for those who choose elsewhere.
  double draw();

 private:
  SamplerOptions options_;
  std::mt19937_64 random_;
};

}  // namespace hack::model
