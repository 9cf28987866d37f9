#include "model/checkpoint/llama_config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string_view>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"

namespace hack::model {

namespace {

constexpr std::array<std::string_view, 5> rope_names = {"none", "linear", "dynamic", "yarn", "llama3"};

void check_rope(const LlamaConfig& config, const std::string& where) {
  const RopeScaling& rope = config.rope;
  // Number by number, in floats: what is finite in the file may not be finite where it is used.
  const auto positive = [&](double x, std::string_view what) {
    const auto single = static_cast<float>(x);
    validate(std::isfinite(single) && single > 0, "cannot use {} ({} of the rotary embedding is {})", where, what, x);
  };
  for (const RopeField& field : rope_fields()) positive(rope.*field.member, field.name);
  positive(rope.beta_fast, "beta_fast");
  positive(rope.beta_slow, "beta_slow");
  positive(rope.attention_factor, "attention_factor");
  validate(rope.type != RopeType::yarn || (rope.theta > 1 && rope.beta_slow < rope.beta_fast),
           "cannot use {} (yarn with the base {}, beta_slow {} and beta_fast {})", where, rope.theta, rope.beta_slow,
           rope.beta_fast);
  constexpr index_t most = index_t{1} << 28;
  validate(rope.original_context >= 1 && rope.original_context <= most,
           "cannot use {} (original context of the rotary embedding is {})", where, rope.original_context);
  validate(rope.type != RopeType::llama3 || rope.low_freq_factor < rope.high_freq_factor,
           "cannot use {} (low_freq_factor {} of the rotary embedding is not below high_freq_factor {})", where,
           rope.low_freq_factor, rope.high_freq_factor);
  validate(config.rope_factors.empty() || std::ssize(config.rope_factors) == config.head_dim / 2,
           "cannot use {} ({} rope factors, half of the head dimension {} expected)", where, config.rope_factors.size(),
           config.head_dim);
  for (const float factor : config.rope_factors) positive(factor, "a factor");
}

}  // namespace

void check(const LlamaConfig& config, const std::string& where) {
  for (const SizeField& field : size_fields()) {
    const index_t n = config.*field.member, most = field.most(config);
    validate(n >= 1 && n <= most, "cannot use {} ({} is {}, 1 to {} expected)", where, field.words, n, most);
  }
  validate(config.heads % config.kv_heads == 0, "cannot use {} ({} heads are not a multiple of {} key/value heads)",
           where, config.heads, config.kv_heads);
  validate(config.head_dim % 2 == 0, "cannot use {} (head dimension {} is odd; the rotary embedding turns pairs)",
           where, config.head_dim);
  for (const NumberField& field : number_fields()) {
    const float x = config.*field.member;
    validate(std::isfinite(x) && x >= 0, "cannot use {} ({} is {})", where, field.words, x);
  }
  for (const int id : config.eos_ids) {
    validate(id >= 0 && id < config.vocab_size, "cannot use {} (end token {} is outside the vocabulary of {})", where,
             id, config.vocab_size);
  }
  constexpr index_t longest_window = index_t{1} << 28;
  validate(config.sliding_window >= 0 && config.sliding_window <= longest_window && config.first_window_layer >= 0,
           "cannot use {} (a sliding window of {} from layer {} on)", where, config.sliding_window,
           config.first_window_layer);
  check_rope(config, where);
}

void check_length(const LlamaConfig& config, index_t tokens) {
  const index_t most = config.rope.original_context;
  validate(config.rope.type != RopeType::dynamic || tokens <= most,
           "the model's rotary embedding changes with the length of the text beyond {} tokens (dynamic), which is not "
           "supported (there are {}); use at most {} tokens",
           most, tokens, most);
}

namespace {

/// For each pair of dimensions the share (0 to 1) by which yarn slows it down.
std::vector<float> yarn_ramp(const LlamaConfig& config) {
  const RopeScaling& rope = config.rope;
  const auto dim = static_cast<double>(config.head_dim);
  const auto place_of = [&](double turns) {  // that many turns in the original context
    return dim * std::log(static_cast<double>(rope.original_context) / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(rope.theta));
  };
  double first = place_of(rope.beta_fast), last = place_of(rope.beta_slow);
  if (rope.truncates) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, dim - 1);
  if (first == last) last += 0.001;
  std::vector<float> out(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float share = (static_cast<float>(i) - static_cast<float>(first)) / static_cast<float>(last - first);
    out[i] = std::clamp(share, 0.0f, 1.0f);
  }
  return out;
}

}  // namespace

std::vector<float> inverse_frequencies(const LlamaConfig& config) {
  const RopeScaling& rope = config.rope;
  const auto theta = static_cast<float>(rope.theta);
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low_freq_factor);
  const auto context = static_cast<float>(rope.original_context);
  // Numbers without a tensor among them are doubles there, and round to f32 where they meet one.
  const double longest = static_cast<double>(rope.original_context) / rope.low_freq_factor;
  const double shortest = static_cast<double>(rope.original_context) / rope.high_freq_factor;
  const auto width = static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
  const std::vector<float> ramp = rope.type == RopeType::yarn ? yarn_ramp(config) : std::vector<float>{};
  std::vector<float> out(static_cast<std::size_t>(config.head_dim / 2));  // (head_dim / 2)
  for (index_t i = 0; i < config.head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    const float slowness = std::pow(theta, exponent);
    float f = 1.0f / slowness;
    if (!config.rope_factors.empty()) {
      f /= config.rope_factors[static_cast<std::size_t>(i)];
    } else if (rope.type == RopeType::linear) {
      f /= factor;
    } else if (rope.type == RopeType::yarn) {
      const float kept = 1.0f - ramp[static_cast<std::size_t>(i)];
      f = 1.0f / (factor * slowness) * (1.0f - kept) + f * kept;
    } else if (rope.type == RopeType::llama3) {
      const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / f;
      if (wavelength > static_cast<float>(longest)) {
        f /= factor;
      } else if (wavelength >= static_cast<float>(shortest)) {
        const float smooth = (context / wavelength - low) / width;
        const float slowed = (1.0f - smooth) * f / factor;
        const float kept = smooth * f;
        f = slowed + kept;
      }
    }
    out[static_cast<std::size_t>(i)] = f;
  }
  return out;
}

void to_json(nlohmann::json& out, const LlamaConfig& config) {
  out = {{"rope_factors", config.rope_factors}, {"eos_ids", config.eos_ids}};
  for (const SizeField& field : size_fields()) out[field.name] = config.*field.member;
  for (const FlagField& field : flag_fields()) out[field.name] = config.*field.member;
  for (const NumberField& field : number_fields()) out[field.name] = config.*field.member;
  if (config.sliding_window > 0) {
    out["sliding_window"] = config.sliding_window;
    out["first_window_layer"] = config.first_window_layer;
  }
  nlohmann::json& rope = out["rope"];
  rope = {{"type", rope_names[static_cast<std::size_t>(config.rope.type)]},
          {"original_context", config.rope.original_context}};
  if (config.rope.type == RopeType::yarn) {
    rope["beta_fast"] = config.rope.beta_fast;
    rope["beta_slow"] = config.rope.beta_slow;
    rope["attention_factor"] = config.rope.attention_factor;
    rope["truncates"] = config.rope.truncates;
  }
  for (const RopeField& field : rope_fields()) rope[field.name] = config.rope.*field.member;
}

}  // namespace hack::model
