#include "model/llama/sampler.hpp"

#include "kernels/error.hpp"

namespace hack::model {

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {
  validate(options.temperature >= 0, "a temperature of {} is negative", options.temperature);
  validate(options.top_p > 0 && options.top_p <= 1, "a top-p of {} does not lie in (0, 1]", options.top_p);
  validate(options.top_k >= 0, "a top-k of {} is negative", options.top_k);
  validate(options.min_p >= 0 && options.min_p <= 1, "a min-p of {} does not lie in [0, 1]", options.min_p);
  validate(options.repetition_penalty > 0, "a repetition penalty of {} is not above 0", options.repetition_penalty);
}

// std::uniform_real_distribution differs between standard libraries; 53 bits of the generator do not.
double Sampler::draw() { return options_.temperature == 0 ? 0 : static_cast<double>(random_() >> 11) * 0x1p-53; }

int Sampler::choose(std::vector<float>& logits, std::span<const int> seen, double draw) {
  std::vector<std::uint8_t> marks(logits.size());
  for (const int id : seen) marks[static_cast<std::size_t>(id)] = 1;
  DecodeState state{.position = std::ssize(seen), .draw = draw, .id = 0};
  Queue<Device::cpu> queue(1);
  kernels::choose_token<Device::cpu>(queue, rule(), {logits.data(), 1, std::ssize(logits)}, marks.data(), &state);
  return state.id;
}

}  // namespace hack::model
