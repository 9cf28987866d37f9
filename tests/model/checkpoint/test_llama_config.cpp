#include "model/checkpoint/llama_config.hpp"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/checkpoint/json_object.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::model {
namespace {

using hack::testing::encode;
using hack::testing::GgufWriter;
using hack::testing::TemporaryDirectory;
using hack::testing::write_file;
using nlohmann::json;

json llama_json() {
  return json::parse(R"({"model_type": "llama", "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": true,
    "eos_token_id": [128001, 128008, 128009],
    "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                     "original_max_position_embeddings": 8192, "rope_type": "llama3"}})");
}

LlamaConfig from_hf(const json& j) { return llama_config_from_hf(JsonObject(j, "config.json")); }

std::string error_of(const json& j) {
  try {
    from_hf(j);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

/// The Error after key `key` is set to `value` names `word`.
void expect_refused(const std::string& key, const json& value, const std::string& word) {
  json j = llama_json();
  j[key] = value;
  EXPECT_NE(error_of(j).find(word), std::string::npos) << key << " = " << value << ": " << error_of(j);
}

TEST(LlamaConfig, ReadsHuggingFaceConfigs) {
  const LlamaConfig c = from_hf(llama_json());
  EXPECT_EQ(c.hidden_size, 2048);
  EXPECT_EQ(c.intermediate_size, 8192);
  EXPECT_EQ(c.layers, 16);
  EXPECT_EQ(c.heads, 32);
  EXPECT_EQ(c.kv_heads, 8);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.vocab_size, 128256);
  EXPECT_EQ(c.context_length, 131072);
  EXPECT_EQ(c.rms_norm_eps, 1e-5f);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_FALSE(c.attention_bias);
  EXPECT_FALSE(c.mlp_bias);
  EXPECT_EQ(c.rope.type, RopeType::llama3);
  EXPECT_EQ(c.rope.theta, 500000.0);
  EXPECT_EQ(c.rope.factor, 32.0);
  EXPECT_EQ(c.rope.original_context, 8192);
  EXPECT_EQ(c.eos_ids, (std::vector<int>{128001, 128008, 128009}));
}

TEST(LlamaConfig, FillsInWhatHuggingFaceLeavesOut) {
  json j = llama_json();
  for (const char* key : {"num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta",
                          "rope_scaling", "tie_word_embeddings", "eos_token_id", "hidden_act"}) {
    j.erase(key);
  }
  const LlamaConfig c = from_hf(j);
  EXPECT_EQ(c.kv_heads, 32);
  EXPECT_EQ(c.context_length, 2048);
  EXPECT_EQ(c.rms_norm_eps, 1e-6f);
  EXPECT_EQ(c.rope.theta, 10000.0);
  EXPECT_EQ(c.rope.type, RopeType::none);
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_TRUE(c.eos_ids.empty());

  j["head_dim"] = 96;
  j["attention_bias"] = true;
  j["mlp_bias"] = true;
  j["eos_token_id"] = 7;
  const LlamaConfig d = from_hf(j);
  EXPECT_EQ(d.head_dim, 96);
  EXPECT_TRUE(d.attention_bias);
  EXPECT_TRUE(d.mlp_bias);
  EXPECT_EQ(d.eos_ids, std::vector<int>{7});
}

TEST(LlamaConfig, KnowsThatQwen3NormsQueriesAndKeys) {
  EXPECT_FALSE(from_hf(llama_json()).qk_norm);
  json qwen = llama_json();
  qwen["model_type"] = "qwen3";
  qwen["head_dim"] = 64;
  EXPECT_TRUE(from_hf(qwen).qk_norm);
}

TEST(LlamaConfig, ReadsBothSpellingsOfTheRotaryEmbedding) {
  json renamed = llama_json();
  renamed["rope_parameters"] = renamed["rope_scaling"];
  renamed["rope_parameters"]["rope_theta"] = 500000.0;
  renamed.erase("rope_scaling");
  renamed.erase("rope_theta");
  EXPECT_EQ(inverse_frequencies(from_hf(renamed)), inverse_frequencies(from_hf(llama_json())));

  json old = llama_json();
  old["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_EQ(from_hf(old).rope.type, RopeType::linear);
  EXPECT_EQ(from_hf(old).rope.factor, 2.0);
  EXPECT_EQ(from_hf(old).rope.theta, 500000.0);

  json plain = llama_json();
  plain.erase("rope_scaling");
  plain["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 25000.0}};
  EXPECT_EQ(from_hf(plain).rope.type, RopeType::none);
  EXPECT_EQ(from_hf(plain).rope.theta, 25000.0);
  EXPECT_TRUE(from_hf(plain).warnings.empty());
  // An edited config of transformers 5, which takes rope_scaling.
  json both = old;
  both["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 25000.0}};
  EXPECT_EQ(inverse_frequencies(from_hf(both)), inverse_frequencies(from_hf(old)));
  ASSERT_EQ(from_hf(both).warnings.size(), 1u);
  EXPECT_NE(from_hf(both).warnings[0].find("both rope_scaling and rope_parameters"), std::string::npos);
  plain["rope_parameters"] = nullptr;
  EXPECT_EQ(from_hf(plain).rope.theta, 500000.0);
}

TEST(LlamaConfig, RefusesWhatIsNotSupported) {
  expect_refused("model_type", "gemma", "llama, mistral, qwen2 and qwen3 are supported");
  expect_refused("model_type", nullptr, "qwen3 are supported");
  expect_refused("use_sliding_window", true, "use_sliding_window");
  expect_refused("quantization_config", json({{"quant_method", "gptq"}, {"bits", 4}}), "quantised by gptq, 4 bits");
  expect_refused("quantization_config", json({{"quant_method", "fp8"}}), "quantised by fp8");
  expect_refused("hidden_act", "gelu", "silu is supported");
  expect_refused("rope_scaling", {{"type", "longrope"}, {"factor", 2}}, "'longrope'");
  expect_refused("partial_rotary_factor", 0.5, "partial_rotary_factor");
}

TEST(LlamaConfig, RefusesSizesThatDoNotFit) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                          "num_key_value_heads", "max_position_embeddings"}) {
    for (const json& value : {json(0), json(-1), json(std::int64_t{1} << 40), json("8"), json(1.5),
                              json(std::uint64_t{1} << 63), json(true), json::array()}) {
      expect_refused(key, value, "config.json");
    }
  }
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"}) {
    json j = llama_json();
    j.erase(key);
    EXPECT_NE(error_of(j).find(key), std::string::npos);
  }
  expect_refused("num_key_value_heads", 7, "not a multiple");
  expect_refused("num_key_value_heads", 64, "key/value heads is 64");
  expect_refused("num_attention_heads", 40, "head_dim");
  expect_refused("head_dim", 63, "odd");
  expect_refused("rms_norm_eps", -1.0, "epsilon");
  expect_refused("rope_theta", 0.0, "theta");
  expect_refused("rope_theta", 1e300, "theta");
  expect_refused("eos_token_id", -1, "eos_token_id");
  expect_refused("eos_token_id", 128256, "128256");
  expect_refused("eos_token_id", "</s>", "eos_token_id");
  expect_refused("rope_scaling", {{"type", "linear"}}, "factor");
  expect_refused("rope_scaling", {{"type", "linear"}, {"factor", 0}}, "factor");
  expect_refused("rope_scaling", 3, "rope_scaling");
  expect_refused("rope_scaling", {{"type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}},
                 "not below");
}

// The numbers are those of transformers 5.23 for Llama-3.2-1B, SmolLM2 and a linearly stretched Llama-2. Where the
// compiler fuses the blend of the llama3 rule one number is off by one unit in the last place, 2^-23.
TEST(LlamaConfig, InverseFrequenciesAreThoseOfTransformers) {
  const auto expect_values = [](const LlamaConfig& c, std::vector<std::pair<std::size_t, float>> expected) {
    const std::vector<float> f = inverse_frequencies(c);
    ASSERT_EQ(std::ssize(f), c.head_dim / 2);
    for (const auto& [i, value] : expected) EXPECT_NEAR(f[i], value, value * 0x1p-23f) << i;
  };
  LlamaConfig c;
  c.head_dim = 64;
  c.rope = {RopeType::llama3, 500000.0, 32.0, 1.0, 4.0, 8192};
  expect_values(c, {{0, 0x1p+0f},
                    {1, 0x1.53c38cp-1f},
                    {14, 0x1.a4ee4p-9f},
                    {15, 0x1.524f36p-10f},
                    {16, 0x1.c26c4p-12f},
                    {17, 0x1.9731eep-14f},
                    {18, 0x1.46831ap-16f},
                    {31, 0x1.94836p-24f}});
  c.rope = {RopeType::none, 100000.0};
  expect_values(c, {{0, 0x1p+0f}, {1, 0x1.654a0cp-1f}, {16, 0x1.9e7c7p-9f}, {31, 0x1.e0d6dap-17f}});
  c.head_dim = 128;
  c.rope = {RopeType::linear, 10000.0, 3.0};
  expect_values(c, {{0, 0x1.555556p-2f}, {1, 0x1.27951ep-2f}, {32, 0x1.b4e81ap-9f}, {63, 0x1.42e682p-15f}});
}

TEST(LlamaConfig, SlowsFrequenciesDownAsYarnDoes) {
  LlamaConfig c = from_hf(llama_json());
  c.rope = {.type = RopeType::yarn, .theta = 10000.0, .factor = 8.0, .original_context = 32};
  const std::vector<float> plain = [&] {
    LlamaConfig other = c;
    other.rope.type = RopeType::none;
    return inverse_frequencies(other);
  }();
  const std::vector<float> f = inverse_frequencies(c);
  EXPECT_EQ(f[0], plain[0]) << "below the ramp";
  EXPECT_FLOAT_EQ(f[31], plain[31] / 8) << "above it";
  for (std::size_t i = 1; i < f.size(); ++i) EXPECT_LT(f[i], f[i - 1]);
}

TEST(LlamaConfig, ReadsWhatFamiliesSayOfWindowsAndBiases) {
  json j = llama_json();
  j["rope_scaling"] = nullptr;
  j["model_type"] = "mistral";
  EXPECT_EQ(from_hf(j).sliding_window, 4096) << "transformers' default";
  j["sliding_window"] = nullptr;
  EXPECT_EQ(from_hf(j).sliding_window, 0);
  j["sliding_window"] = 77;
  EXPECT_EQ(from_hf(j).sliding_window, 77);
  EXPECT_EQ(window_of(from_hf(j), 0), 77);

  j["model_type"] = "qwen2";
  LlamaConfig c = from_hf(j);
  EXPECT_TRUE(c.qkv_bias && !c.attention_bias);
  EXPECT_EQ(c.sliding_window, 0) << "use_sliding_window is not set";
  j["use_sliding_window"] = true;
  j["max_window_layers"] = 3;
  c = from_hf(j);
  EXPECT_EQ(window_of(c, 2), 0);
  EXPECT_EQ(window_of(c, 3), 77);
  j["layer_types"] = json::array();
  for (int i = 0; i < 16; ++i) j["layer_types"].push_back(i < 5 ? "full_attention" : "sliding_attention");
  EXPECT_EQ(from_hf(j).first_window_layer, 5);
  j["layer_types"][9] = "full_attention";
  EXPECT_THROW(from_hf(j), Error);
  j.erase("layer_types");
  j.erase("num_key_value_heads");
  EXPECT_THROW(from_hf(j), Error) << "which have another default there";
}

TEST(LlamaConfig, ReadsYarnAndDynamicScaling) {
  json j = llama_json();
  j["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  LlamaConfig c = from_hf(j);
  EXPECT_EQ(c.rope.type, RopeType::yarn);
  EXPECT_EQ(c.rope.original_context, 64);
  EXPECT_NEAR(c.rope.attention_factor, 0.1 * std::log(4.0) + 1, 1e-12);
  j["rope_scaling"]["mscale"] = 0.7;
  j["rope_scaling"]["mscale_all_dim"] = 1.2;
  EXPECT_NEAR(from_hf(j).rope.attention_factor, (0.07 * std::log(4.0) + 1) / (0.12 * std::log(4.0) + 1), 1e-12);
  j["rope_scaling"]["attention_factor"] = 1.5;
  EXPECT_EQ(from_hf(j).rope.attention_factor, 1.5);
  EXPECT_FLOAT_EQ(score_factor(from_hf(j)), 2.25f);

  j["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2.0}};
  c = from_hf(j);
  EXPECT_EQ(c.rope.original_context, c.context_length);
  check_length(c, c.context_length);
  EXPECT_THROW(check_length(c, c.context_length + 1), Error);
}

TEST(LlamaConfig, FactorsOfAFileDivideThePlainFrequencies) {
  LlamaConfig c = from_hf(llama_json());
  c.rope = {};
  const std::vector<float> plain = inverse_frequencies(c);
  c.rope_factors.assign(32, 1.0f);
  c.rope_factors[3] = 4.0f;
  const std::vector<float> f = inverse_frequencies(c);
  EXPECT_EQ(f[2], plain[2]);
  EXPECT_EQ(f[3], plain[3] / 4.0f);
}

// Literals: the tables that readers and the tests' own models share may not drift.
TEST(LlamaConfig, IsStoredFieldByField) {
  LlamaConfig c = from_hf(llama_json());
  c.mlp_bias = true;
  c.rope_factors = {0.5f, 2.0f};
  EXPECT_EQ(json(c), json::parse(R"({"hidden_size": 2048, "intermediate_size": 8192, "layers": 16, "heads": 32,
    "kv_heads": 8, "head_dim": 64, "vocab_size": 128256, "context_length": 131072, "rms_norm_eps": 9.999999747378752e-06,
    "tied_embeddings": true, "attention_bias": false, "qkv_bias": false, "mlp_bias": true, "qk_norm": false,
    "rope": {"type": "llama3", "theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
             "original_context": 8192},
    "rope_factors": [0.5, 2.0], "eos_ids": [128001, 128008, 128009]})"));
}

/// Metadata of a Llama with heads of 4, and the tensor that tells its vocabulary.
GgufWriter llama_gguf() {
  GgufWriter out;
  out.add_text("general.architecture", "llama");
  out.add_integer("llama.embedding_length", 12);
  out.add_integer("llama.feed_forward_length", 20);
  out.add_integer("llama.block_count", 2);
  out.add_integer("llama.attention.head_count", 3);
  out.add_integer("llama.context_length", 64);
  out.add_number("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return out;
}

void add_vocabulary(GgufWriter& out, index_t n) {
  out.add_tensor("token_embd.weight", {12, n}, GgmlType::f32, std::string(static_cast<std::size_t>(48 * n), '\0'));
}

LlamaConfig from_gguf(const GgufWriter& writer) {
  const TemporaryDirectory directory;
  write_file(directory / "a.gguf", writer.bytes());
  return llama_config_from_gguf(GgufFile(directory / "a.gguf"));
}

TEST(LlamaConfig, ReadsGgufMetadata) {
  GgufWriter writer = llama_gguf();
  add_vocabulary(writer, 9);
  const LlamaConfig c = from_gguf(writer);
  EXPECT_EQ(c.hidden_size, 12);
  EXPECT_EQ(c.intermediate_size, 20);
  EXPECT_EQ(c.layers, 2);
  EXPECT_EQ(c.heads, 3);
  EXPECT_EQ(c.kv_heads, 3);
  EXPECT_EQ(c.head_dim, 4);
  EXPECT_EQ(c.vocab_size, 9);
  EXPECT_EQ(c.context_length, 64);
  EXPECT_EQ(c.rms_norm_eps, 1e-5f);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_EQ(c.rope.theta, 10000.0);
  EXPECT_EQ(c.rope.type, RopeType::none);

  writer.add_integer("llama.attention.head_count_kv", 1);
  writer.add_integer("llama.attention.key_length", 6);
  writer.add_number("llama.rope.freq_base", 5000.0f);
  writer.add_text("llama.rope.scaling.type", "linear");
  writer.add_number("llama.rope.scaling.factor", 2.5f);
  writer.add_integer("tokenizer.ggml.eos_token_id", 8);
  writer.add_integer("tokenizer.ggml.eot_token_id", 7);
  const float factors[] = {1.0f, 2.0f, 8.0f};
  writer.add_tensor("rope_freqs.weight", {3}, GgmlType::f32, encode(GgmlType::f32, factors, 3, 0));
  writer.add_tensor("output.weight", {12, 9}, GgmlType::f32, std::string(48 * 9, '\0'));
  const LlamaConfig d = from_gguf(writer);
  EXPECT_EQ(d.kv_heads, 1);
  EXPECT_EQ(d.head_dim, 6);
  EXPECT_EQ(d.rope.theta, 5000.0);
  EXPECT_EQ(d.rope.type, RopeType::linear);
  EXPECT_EQ(d.rope.factor, 2.5);
  EXPECT_EQ(d.eos_ids, (std::vector<int>{8, 7}));
  EXPECT_EQ(d.rope_factors, (std::vector<float>{1.0f, 2.0f, 8.0f}));
  EXPECT_FALSE(d.tied_embeddings);
}

TEST(LlamaConfig, RefusesGgufFilesItCannotRun) {
  const auto expect_gguf_refused = [](auto change, const std::string& word) {
    GgufWriter writer = llama_gguf();
    change(writer);
    add_vocabulary(writer, 9);
    try {
      from_gguf(writer);
      ADD_FAILURE() << word;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
  };
  expect_gguf_refused([](GgufWriter& w) { w.add_integer("llama.expert_count", 8); }, "mixture of experts");
  expect_gguf_refused([](GgufWriter& w) { w.add_integer("split.count", 3); }, "split");
  expect_gguf_refused([](GgufWriter& w) { w.add_text("llama.rope.scaling.type", "longrope"); }, "'longrope'");
  expect_gguf_refused([](GgufWriter& w) { w.add_text("llama.rope.scaling.type", "linear"); }, "scaling.factor");
  expect_gguf_refused([](GgufWriter& w) { w.add_integer("llama.rope.dimension_count", 2); }, "dimension_count");
  expect_gguf_refused([](GgufWriter& w) { w.add_integer("llama.attention.head_count_kv", 2); }, "not a multiple");
  expect_gguf_refused([](GgufWriter& w) { w.add_integer("tokenizer.ggml.eos_token_id", 9); }, "eos_token_id is 9");
  expect_gguf_refused([](GgufWriter& w) { w.add_number("llama.rope.freq_base", NAN); }, "theta");
  const float zero[] = {0.0f, 1.0f};
  expect_gguf_refused(
      [&](GgufWriter& w) { w.add_tensor("rope_freqs.weight", {2}, GgmlType::f32, encode(GgmlType::f32, zero, 2, 0)); },
      "factor");
  expect_gguf_refused(
      [&](GgufWriter& w) { w.add_tensor("rope_freqs.weight", {1}, GgmlType::f32, encode(GgmlType::f32, zero, 1, 0)); },
      "rope_freqs.weight");

  GgufWriter other;
  other.add_text("general.architecture", "phi3");
  EXPECT_THROW(from_gguf(other), Error);
  EXPECT_THROW(from_gguf(GgufWriter()), Error);
  EXPECT_THROW(from_gguf(llama_gguf()), Error) << "neither embedding nor tokens";
}

}  // namespace
}  // namespace hack::model
