// The ways back from a LlamaConfig: config.json and the metadata of a GGUF file.

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/gguf_writer.hpp"

namespace hack::model {
namespace {

/// Whether the same frequencies follow from both, to rounding.
bool turns_alike(const LlamaConfig& a, const LlamaConfig& b) {
  const std::vector<float> x = inverse_frequencies(a), y = inverse_frequencies(b);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::abs(x[i] - y[i]) > 4e-6f * x[i]) return false;  // rounding of the divisor and of the rule's own steps
  }
  return true;
}

/// The rule from which a file's divisors of the frequencies were computed: Llama 3 blends between a quarter of the
/// original context, a power of two, and all of it.
RopeScaling rule_of_factors(const LlamaConfig& config) {
  LlamaConfig tried = config;
  tried.rope_factors.clear();
  tried.rope.type = RopeType::none;
  if (turns_alike(config, tried)) return tried.rope;
  tried.rope.type = RopeType::llama3;
  tried.rope.factor = *std::max_element(config.rope_factors.begin(), config.rope_factors.end());
  tried.rope.low_freq_factor = 1.0;
  tried.rope.high_freq_factor = 4.0;
  for (tried.rope.original_context = 32; tried.rope.original_context <= index_t{1} << 24;
       tried.rope.original_context *= 2) {
    if (turns_alike(config, tried)) return tried.rope;
  }
  fail(
      "cannot write a config.json (the divisors of the rotary embedding's frequencies follow no llama3 rule with the "
      "factors 1 and 4); export the model as GGUF");
}

/// The double with the fewest digits that rounds to x: 1e-5 in place of 9.999999747378752e-06.
double as_written(float x) { return std::stod(fmt::format("{}", x)); }

nlohmann::ordered_json rope_scaling(const RopeScaling& rope) {
  constexpr const char* names[] = {"default", "linear", "dynamic", "yarn", "llama3"};
  nlohmann::ordered_json out = {{"rope_type", names[static_cast<std::size_t>(rope.type)]}};
  for (const RopeField& field : rope_fields()) {
    if (field.from != RopeType::none && field.from <= rope.type) out[std::string(field.hf)] = rope.*field.member;
  }
  if (rope.type >= RopeType::yarn) out["original_max_position_embeddings"] = rope.original_context;
  if (rope.type == RopeType::yarn) {
    out["beta_fast"] = rope.beta_fast;
    out["beta_slow"] = rope.beta_slow;
    out["attention_factor"] = rope.attention_factor;
    if (!rope.truncates) out["truncate"] = false;
  }
  return out;
}

void add_yarn(GgufWriter& writer, const std::string& family, const RopeScaling& rope) {
  validate(rope.truncates,
           "cannot write GGUF (yarn without truncation has no place in it); export a Hugging Face "
           "directory");
  const std::string key = family + "rope.scaling.";
  writer.add_text(key + "type", "yarn");
  writer.add_number(key + "factor", static_cast<float>(rope.factor));
  writer.add_integer(key + "original_context_length", static_cast<std::uint32_t>(rope.original_context));
  writer.add_number(key + "yarn_beta_fast", static_cast<float>(rope.beta_fast));
  writer.add_number(key + "yarn_beta_slow", static_cast<float>(rope.beta_slow));
  const double usual = rope.factor <= 1 ? 1.0 : 0.1 * std::log(rope.factor) + 1.0;
  writer.add_number(key + "attn_factor", static_cast<float>(rope.attention_factor / usual));
}

}  // namespace

const Architecture& architecture_of(const LlamaConfig& config) {
  const Architecture* found = nullptr;
  for (const Architecture& architecture : architectures()) {
    if (architecture.fits(config)) found = &architecture;
  }
  return *found;
}

nlohmann::ordered_json to_hf_config(const LlamaConfig& config) {
  const Architecture& architecture = architecture_of(config);
  const RopeScaling rope = config.rope_factors.empty() ? config.rope : rule_of_factors(config);
  nlohmann::ordered_json out = {{"architectures", {std::string(architecture.hf_class)}},
                                {"model_type", std::string(architecture.hf)},
                                {"hidden_act", "silu"}};
  for (const SizeField& field : size_fields()) out[std::string(field.hf)] = config.*field.member;
  for (const NumberField& field : number_fields()) out[std::string(field.hf)] = as_written(config.*field.member);
  for (const FlagField& field : flag_fields()) {
    if (!field.hf.empty()) out[std::string(field.hf)] = config.*field.member;
  }
  if (config.sliding_window > 0) {
    out["sliding_window"] = config.sliding_window;
    if (architecture.window == WindowRule::flagged) {
      out["use_sliding_window"] = true;
      out["max_window_layers"] = config.first_window_layer;
    }
  }
  out["rope_theta"] = rope.theta;
  if (rope.type != RopeType::none) out["rope_scaling"] = rope_scaling(rope);
  if (config.eos_ids.size() == 1) {
    out["eos_token_id"] = config.eos_ids.front();
  } else if (!config.eos_ids.empty()) {
    out["eos_token_id"] = config.eos_ids;
  }
  return out;
}

void add_config(GgufWriter& writer, const LlamaConfig& config) {
  const Architecture& architecture = architecture_of(config);
  const std::string family = std::string(architecture.gguf) + ".";
  const auto add_size = [&](const std::string& key, index_t n) {
    writer.add_integer(family + key, static_cast<std::uint32_t>(n));
  };
  validate(!config.qk_norm || !config.attention_bias,
           "cannot write GGUF (biases of attention beside norms of q and k have no place in it); export a Hugging Face "
           "directory");
  writer.add_text("general.architecture", architecture.gguf);
  writer.add_text("general.type", "model");
  for (const SizeField& field : size_fields()) {
    add_size(std::string(field.gguf.empty() ? field.name : field.gguf), config.*field.member);
  }
  for (const NumberField& field : number_fields()) {
    writer.add_number(family + std::string(field.gguf), config.*field.member);
  }
  for (const char* key : {"attention.value_length", "rope.dimension_count"}) add_size(key, config.head_dim);
  writer.add_number(family + "rope.freq_base", static_cast<float>(config.rope.theta));
  if (config.rope.type == RopeType::linear) {
    writer.add_text(family + "rope.scaling.type", "linear");
    writer.add_number(family + "rope.scaling.factor", static_cast<float>(config.rope.factor));
  } else if (config.rope.type == RopeType::yarn) {
    add_yarn(writer, family, config.rope);
  }
  if (config.sliding_window > 0) {
    validate(
        config.first_window_layer == 0,
        "cannot write GGUF (a sliding window from layer {} on has no place in it); export a Hugging Face directory",
        config.first_window_layer);
    add_size("attention.sliding_window", config.sliding_window);
  }
}

std::vector<float> frequency_divisors(const LlamaConfig& config) {
  if (!config.rope_factors.empty() || config.rope.type != RopeType::llama3) return config.rope_factors;
  LlamaConfig plain = config;
  plain.rope.type = RopeType::none;
  std::vector<float> out = inverse_frequencies(plain);  // (head_dim / 2)
  const std::vector<float> slowed = inverse_frequencies(config);
  std::transform(out.begin(), out.end(), slowed.begin(), out.begin(), std::divides<>());
  return out;
}

}  // namespace hack::model
