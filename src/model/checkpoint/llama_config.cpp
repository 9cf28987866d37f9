#include "model/checkpoint/llama_config.hpp"

#include <array>
#include <cmath>
#include <numbers>
#include <string_view>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"

namespace hack::model {

namespace {

constexpr std::array<std::string_view, 3> rope_names = {"none", "linear", "llama3"};

void check_rope(const LlamaConfig& config, const std::string& where) {
  const RopeScaling& rope = config.rope;
  // Number by number, in floats: what is finite in the file may not be finite where it is used.
  const auto positive = [&](double x, std::string_view what) {
    const auto single = static_cast<float>(x);
    validate(std::isfinite(single) && single > 0, "cannot use {} ({} of the rotary embedding is {})", where, what, x);
  };
  for (const RopeField& field : rope_fields()) positive(rope.*field.member, field.name);
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
  check_rope(config, where);
}

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
  std::vector<float> out(static_cast<std::size_t>(config.head_dim / 2));  // (head_dim / 2)
  for (index_t i = 0; i < config.head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    float f = 1.0f / std::pow(theta, exponent);
    if (!config.rope_factors.empty()) {
      f /= config.rope_factors[static_cast<std::size_t>(i)];
    } else if (rope.type == RopeType::linear) {
      f /= factor;
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
  nlohmann::json& rope = out["rope"];
  rope = {{"type", rope_names[static_cast<std::size_t>(config.rope.type)]},
          {"original_context", config.rope.original_context}};
  for (const RopeField& field : rope_fields()) rope[field.name] = config.rope.*field.member;
}

}  // namespace hack::model
