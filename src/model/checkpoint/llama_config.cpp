#include "model/checkpoint/llama_config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string_view>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/json_object.hpp"

namespace hack::model {

namespace {

// No Llama comes near these; below them no product of two sizes and no list of names runs away.
constexpr index_t largest_size = index_t{1} << 28;
constexpr index_t most_layers = 4096;

constexpr std::array<std::string_view, 3> rope_names = {"none", "linear", "llama3"};

RopeType parse_rope_type(const std::string& name, const std::string& where) {
  const auto at = std::find(rope_names.begin(), rope_names.end(), name);
  validate(at != rope_names.end(), "cannot use {} (unknown rope type '{}')", where, name);
  return static_cast<RopeType>(at - rope_names.begin());
}

void check_rope(const LlamaConfig& config, const std::string& where) {
  const RopeScaling& rope = config.rope;
  // Number by number, in floats: what is finite in the file may not be finite where it is used.
  const auto positive = [&](double x, const char* what) {
    const auto single = static_cast<float>(x);
    validate(std::isfinite(single) && single > 0, "cannot use {} ({} of the rotary embedding is {})", where, what, x);
  };
  positive(rope.theta, "theta");
  positive(rope.factor, "factor");
  positive(rope.low_freq_factor, "low_freq_factor");
  positive(rope.high_freq_factor, "high_freq_factor");
  validate(rope.original_context >= 1 && rope.original_context <= largest_size,
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
  const auto size = [&](index_t n, const char* what, index_t most) {
    validate(n >= 1 && n <= most, "cannot use {} ({} is {}, 1 to {} expected)", where, what, n, most);
  };
  size(config.hidden_size, "the hidden size", largest_size);
  size(config.intermediate_size, "the intermediate size", largest_size);
  size(config.layers, "the number of layers", most_layers);
  size(config.heads, "the number of heads", 1 << 14);
  size(config.kv_heads, "the number of key/value heads", config.heads);
  size(config.head_dim, "the head dimension", 1 << 14);
  size(config.vocab_size, "the vocabulary", largest_size);
  size(config.context_length, "the context length", largest_size);
  validate(config.heads % config.kv_heads == 0, "cannot use {} ({} heads are not a multiple of {} key/value heads)",
           where, config.heads, config.kv_heads);
  validate(config.head_dim % 2 == 0, "cannot use {} (head dimension {} is odd; the rotary embedding turns pairs)",
           where, config.head_dim);
  validate(std::isfinite(config.rms_norm_eps) && config.rms_norm_eps >= 0, "cannot use {} (epsilon of the norms is {})",
           where, config.rms_norm_eps);
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

void to_json(nlohmann::json& json, const LlamaConfig& config) {
  const RopeScaling& rope = config.rope;
  json = {{"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"layers", config.layers},
          {"heads", config.heads},
          {"kv_heads", config.kv_heads},
          {"head_dim", config.head_dim},
          {"vocab_size", config.vocab_size},
          {"context_length", config.context_length},
          {"rms_norm_eps", config.rms_norm_eps},
          {"tied_embeddings", config.tied_embeddings},
          {"attention_bias", config.attention_bias},
          {"mlp_bias", config.mlp_bias},
          {"rope",
           {{"type", rope_names[static_cast<std::size_t>(rope.type)]},
            {"theta", rope.theta},
            {"factor", rope.factor},
            {"low_freq_factor", rope.low_freq_factor},
            {"high_freq_factor", rope.high_freq_factor},
            {"original_context", rope.original_context}}},
          {"rope_factors", config.rope_factors},
          {"eos_ids", config.eos_ids}};
}

void from_json(const nlohmann::json& json, LlamaConfig& config) {
  const JsonObject from(json, "the stored model description");
  LlamaConfig out;
  out.hidden_size = from.integer("hidden_size");
  out.intermediate_size = from.integer("intermediate_size");
  out.layers = from.integer("layers");
  out.heads = from.integer("heads");
  out.kv_heads = from.integer("kv_heads");
  out.head_dim = from.integer("head_dim");
  out.vocab_size = from.integer("vocab_size");
  out.context_length = from.integer("context_length");
  out.rms_norm_eps = static_cast<float>(from.number("rms_norm_eps"));
  out.tied_embeddings = from.boolean("tied_embeddings");
  out.attention_bias = from.boolean("attention_bias");
  out.mlp_bias = from.boolean("mlp_bias");
  const JsonObject rope = from.object("rope");
  out.rope.type = parse_rope_type(rope.string("type"), rope.where());
  out.rope.theta = rope.number("theta");
  out.rope.factor = rope.number("factor");
  out.rope.low_freq_factor = rope.number("low_freq_factor");
  out.rope.high_freq_factor = rope.number("high_freq_factor");
  out.rope.original_context = rope.integer("original_context");
  for (const double factor : from.numbers("rope_factors")) out.rope_factors.push_back(static_cast<float>(factor));
  for (const std::int64_t id : from.integers("eos_ids")) {
    validate(id >= 0 && id < out.vocab_size, "cannot use {} (end token {} is outside the vocabulary)", from.where(),
             id);
    out.eos_ids.push_back(static_cast<int>(id));
  }
  check(out, from.where());
  config = std::move(out);
}

}  // namespace hack::model
