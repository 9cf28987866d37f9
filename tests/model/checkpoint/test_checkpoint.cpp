#include "model/checkpoint/checkpoint.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/checkpoint/json_object.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;
using hack::testing::read_all;
using hack::testing::read_file;
using hack::testing::TemporaryDirectory;
using hack::testing::tiny_config;
using hack::testing::tiny_weight;
using hack::testing::TinyModel;
using hack::testing::write_file;
using hack::testing::write_gguf;
using hack::testing::write_hf;

std::string error_of(const fs::path& path) {
  try {
    Checkpoint::open(path);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::vector<TinyModel> variants() {
  std::vector<TinyModel> out(8);
  out[1].tied = true;
  out[2].attention_bias = out[2].mlp_bias = true;
  out[3].dtype = DType::bf16;
  out[3].shards = 3;
  out[4].dtype = DType::f16;
  out[4].rope = {RopeType::linear, 5000.0, 2.0};
  out[5].rope = {RopeType::llama3, 500000.0, 8.0, 1.0, 4.0, 64};
  out[5].heads = 4;
  out[5].kv_heads = 2;
  out[5].head_dim = 16;
  out[6].hidden = 64;
  out[6].kv_heads = 10;
  out[6].vocab = 300;
  out[7].qk_norm = true;
  return out;
}

GgmlType plain_type(DType type) {
  return type == DType::f32 ? GgmlType::f32 : type == DType::f16 ? GgmlType::f16 : GgmlType::bf16;
}

TEST(Checkpoint, BothFormatsHoldWhatWasWritten) {
  for (const TinyModel& tiny : variants()) {
    const TemporaryDirectory directory;
    write_hf(tiny, directory / "hf");
    write_gguf(tiny, directory / "a.gguf", plain_type(tiny.dtype));
    const auto hf = Checkpoint::open(directory / "hf");
    const auto gguf = Checkpoint::open(directory / "a.gguf");
    EXPECT_EQ(hf->names(), gguf->names());
    for (const std::string& name : hf->names()) {
      EXPECT_EQ(read_all(*hf, name), tiny_weight(tiny, name)) << name;
      EXPECT_EQ(read_all(*gguf, name), tiny_weight(tiny, name)) << name;
    }
    EXPECT_EQ(hf->exact_type(), tiny.dtype);
    EXPECT_EQ(gguf->exact_type(), tiny.dtype);
    EXPECT_EQ(hf->fingerprint(), gguf->fingerprint());
    EXPECT_EQ(nlohmann::json(hf->config()), nlohmann::json(tiny_config(tiny)));
    EXPECT_EQ(hf->contains("lm_head.weight"), !tiny.tied);
    EXPECT_EQ(gguf->contains("lm_head.weight"), !tiny.tied);
    EXPECT_EQ(gguf->contains("model.layers.1.self_attn.k_proj.bias"), tiny.attention_bias);
    EXPECT_EQ(gguf->contains("model.layers.1.self_attn.k_norm.weight"), tiny.qk_norm);
    // GGUF brings divisors rounded to f32, Hugging Face the rule: three roundings of 2^-24 apart, and the rule's own.
    const std::vector<float> a = inverse_frequencies(hf->config());
    const std::vector<float> b = inverse_frequencies(gguf->config());
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], a[i] * 1e-6f);
  }
}

// Literals: the tables that readers and the tests' own models share may not drift.
TEST(Checkpoint, TensorsHaveTheNamesOfBothWorlds) {
  TinyModel tiny;
  tiny.attention_bias = tiny.qk_norm = true;
  const TemporaryDirectory directory;
  write_gguf(tiny, directory / "a.gguf", GgmlType::f32);
  const GgufFile gguf(directory / "a.gguf");
  const auto checkpoint = Checkpoint::open(directory / "a.gguf");
  const std::pair<const char*, const char*> names[] = {
      {"token_embd.weight", "model.embed_tokens.weight"},
      {"blk.1.attn_norm.weight", "model.layers.1.input_layernorm.weight"},
      {"blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight"},
      {"blk.1.attn_q.bias", "model.layers.1.self_attn.q_proj.bias"},
      {"blk.1.attn_k.weight", "model.layers.1.self_attn.k_proj.weight"},
      {"blk.1.attn_v.weight", "model.layers.1.self_attn.v_proj.weight"},
      {"blk.1.attn_q_norm.weight", "model.layers.1.self_attn.q_norm.weight"},
      {"blk.1.attn_k_norm.weight", "model.layers.1.self_attn.k_norm.weight"},
      {"blk.1.attn_output.weight", "model.layers.1.self_attn.o_proj.weight"},
      {"blk.1.ffn_norm.weight", "model.layers.1.post_attention_layernorm.weight"},
      {"blk.1.ffn_gate.weight", "model.layers.1.mlp.gate_proj.weight"},
      {"blk.1.ffn_up.weight", "model.layers.1.mlp.up_proj.weight"},
      {"blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"},
      {"output_norm.weight", "model.norm.weight"},
      {"output.weight", "lm_head.weight"}};
  for (const auto& [theirs, name] : names) {
    EXPECT_NE(gguf.find_tensor(theirs), nullptr) << theirs;
    EXPECT_TRUE(checkpoint->contains(name)) << name;
  }
}

TEST(Checkpoint, ShapesAreThoseOfTheConfig) {
  const TemporaryDirectory directory;
  write_hf({}, directory / "hf");
  const auto checkpoint = Checkpoint::open(directory / "hf");
  const auto expect_shape = [&](const char* name, index_t rows, index_t cols) {
    const TensorInfo info = checkpoint->info(name);
    EXPECT_EQ(info.rows, rows) << name;
    EXPECT_EQ(info.cols, cols) << name;
    EXPECT_EQ(info.bytes, 4 * rows * cols) << name;
    EXPECT_EQ(info.type, "F32") << name;
  };
  expect_shape("model.embed_tokens.weight", 263, 70);
  expect_shape("model.layers.0.self_attn.q_proj.weight", 60, 70);
  expect_shape("model.layers.0.self_attn.k_proj.weight", 30, 70);
  expect_shape("model.layers.1.self_attn.o_proj.weight", 70, 60);
  expect_shape("model.layers.1.mlp.gate_proj.weight", 151, 70);
  expect_shape("model.layers.1.mlp.down_proj.weight", 70, 151);
  expect_shape("model.norm.weight", 1, 70);
  EXPECT_EQ(checkpoint->names().size(), 1u + 2 * 9 + 2);
  EXPECT_THROW(checkpoint->info("model.layers.2.mlp.up_proj.weight"), Error);
  EXPECT_EQ(checkpoint->path(), directory / "hf");
}

/// Codes and scales of a matrix stand for its numbers.
void expect_encoded_alike(const Checkpoint& checkpoint, const std::string& name, const std::vector<float>& numbers) {
  const TensorInfo info = checkpoint.info(name);
  const std::optional<Codec> codec = checkpoint.codec(name);
  if (!codec || info.rows * info.cols == 0 || !name.ends_with(".weight")) return;
  std::vector<std::byte> codes(static_cast<std::size_t>(info.rows * code_bytes(*codec, info.cols)));
  std::vector<std::byte> scales(static_cast<std::size_t>(info.rows * scale_bytes(*codec, info.cols)));
  checkpoint.read_encoded(name, {0, info.rows}, {0, info.cols}, codes.data(), scales.data());
  std::vector<float> widened(numbers.size());
  widen(*codec, codes.data(), scales.data(), info.rows, info.cols, widened.data());
  EXPECT_EQ(widened, numbers) << name;
}

TEST(Checkpoint, AnyBlockIsAPartOfTheWhole) {
  TinyModel tiny;
  tiny.hidden = 512;
  tiny.intermediate = 256;
  tiny.head_dim = 8;
  tiny.attention_bias = true;
  tiny.layers = 1;
  for (const GgmlType type :
       {GgmlType::f32, GgmlType::f16, GgmlType::q8_0, GgmlType::q4_1, GgmlType::q4_k, GgmlType::q5_k, GgmlType::q6_k}) {
    const TemporaryDirectory directory;
    write_gguf(tiny, directory / "a.gguf", type);
    const auto checkpoint = Checkpoint::open(directory / "a.gguf");
    EXPECT_EQ(checkpoint->info("model.layers.0.mlp.up_proj.weight").type, to_string(type));
    for (const char* name : {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.down_proj.weight",
                             "model.layers.0.self_attn.q_proj.bias"}) {
      const TensorInfo info = checkpoint->info(name);
      const std::vector<float> whole = read_all(*checkpoint, name);
      const index_t rows = std::min<index_t>(info.rows, 37);
      const index_t row = info.rows - rows;
      const index_t col = 13;
      const index_t cols = info.cols - col - 5;
      std::vector<float> part(static_cast<std::size_t>(rows * (cols + 3)), -7.0f);  // (rows, cols) in rows of cols + 3
      checkpoint->read(name, row, col, MatrixView<float>(part.data(), rows, cols, cols + 3));
      for (index_t i = 0; i < rows; ++i) {
        for (index_t j = 0; j < cols; ++j) ASSERT_EQ(part[i * (cols + 3) + j], whole[(row + i) * info.cols + col + j]);
        for (index_t j = cols; j < cols + 3; ++j)
          ASSERT_EQ(part[i * (cols + 3) + j], -7.0f) << "written beside the block";
      }
      expect_encoded_alike(*checkpoint, name, whole);
      EXPECT_THROW(checkpoint->read(name, row + 1, 0, MatrixView<float>(part.data(), rows, 1)), Error);
      EXPECT_THROW(checkpoint->read(name, 0, info.cols, MatrixView<float>(part.data(), 1, 1)), Error);
    }
  }
}

// Half a step of the coarsest block is (largest - smallest) / 30 for Q4_1, largest / 14 for Q4_0, largest / 254 for
// Q8_0, where every number lies within sqrt(3 / 64) of zero; halves round the scale and the minimum by 2^-11.
TEST(Checkpoint, QuantizedFilesAreNearWhatWasWritten) {
  TinyModel tiny;
  tiny.hidden = 64;
  const float largest = std::sqrt(3.0f / 64.0f);
  const std::pair<GgmlType, float> cases[] = {
      {GgmlType::q8_0, 1.0f / 254}, {GgmlType::q4_0, 1.0f / 14}, {GgmlType::q4_1, 2.0f / 30}};
  for (const auto& [type, step] : cases) {
    const TemporaryDirectory directory;
    write_gguf(tiny, directory / "a.gguf", type);
    const auto checkpoint = Checkpoint::open(directory / "a.gguf");
    EXPECT_EQ(checkpoint->exact_type(), DType::f32);
    for (const char* name : {"model.layers.1.self_attn.q_proj.weight", "model.layers.0.mlp.up_proj.weight"}) {
      const std::vector<float> x = read_all(*checkpoint, name);
      const std::vector<float> y = tiny_weight(tiny, name);
      for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], largest * (step + 0x1p-10f));
    }
  }
}

TEST(Checkpoint, FingerprintsTellModelsApart) {
  const TemporaryDirectory directory;
  TinyModel tiny;
  const auto fingerprint = [&](const TinyModel& model) {
    write_gguf(model, directory / "a.gguf", GgmlType::f32);
    return Checkpoint::open(directory / "a.gguf")->fingerprint();
  };
  const std::string first = fingerprint(tiny);
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(first, fingerprint(tiny));
  TinyModel seed = tiny, theta = tiny, rounded = tiny, layers = tiny;
  seed.seed = 2;
  theta.rope.theta = 20000.0;
  rounded.dtype = DType::bf16;
  layers.layers = 1;
  for (const TinyModel& other : {seed, theta, rounded, layers}) EXPECT_NE(fingerprint(other), first);
}

TEST(Checkpoint, BothFormatsHaveTheSameTokenizer) {
  for (const bool adds_bos : {false, true}) {
    TinyModel tiny;
    tiny.vocab = 270;
    tiny.adds_bos = adds_bos;
    const TemporaryDirectory directory;
    write_hf(tiny, directory / "hf");
    write_gguf(tiny, directory / "a.gguf", GgmlType::f32);
    // " the" is one token, "in" another, 'x' the byte 120; specials are found in the text.
    std::vector<int> expected = {258, 259, 120, hack::testing::tiny_end_id, 269};
    if (adds_bos) expected.insert(expected.begin(), hack::testing::tiny_end_id);
    for (const char* name : {"hf", "a.gguf"}) {
      const Tokenizer tokenizer = Checkpoint::open(directory / name)->tokenizer();
      EXPECT_EQ(tokenizer.encode(" theinx<|end|><|269|>", AddSpecial::yes), expected) << name;
      EXPECT_EQ(tokenizer.eos(), hack::testing::tiny_end_id) << name;
    }
  }
}

TEST(Checkpoint, EndTokensOfTheGenerationConfigGoFirst) {
  const TemporaryDirectory directory;
  write_hf({}, directory.path());
  write_file(directory / "generation_config.json", R"({"eos_token_id": [5, 262], "temperature": 0.6})");
  EXPECT_EQ(Checkpoint::open(directory.path())->config().eos_ids, (std::vector<int>{5, 262}));
  write_file(directory / "generation_config.json", R"({"eos_token_id": 263})");
  EXPECT_TRUE(contains(error_of(directory.path()), "generation_config.json"));
}

TEST(Checkpoint, NotANumberIsAnErrorThatNamesTheTensor) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    const TemporaryDirectory directory;
    write_hf({}, directory.path());
    std::string bytes = read_file(directory / "model.safetensors");
    std::memcpy(bytes.data() + bytes.size() - 4, &bad, 4);  // the last number of lm_head.weight
    write_file(directory / "model.safetensors", bytes);
    const auto checkpoint = Checkpoint::open(directory.path());
    float x[70];
    checkpoint->read("lm_head.weight", 261, 0, MatrixView<float>(x, 1, 70));
    checkpoint->read("lm_head.weight", 262, 0, MatrixView<float>(x, 1, 69));
    try {
      checkpoint->read("lm_head.weight", 262, 0, MatrixView<float>(x, 1, 70));
      ADD_FAILURE() << "no Error";
    } catch (const Error& e) {
      EXPECT_TRUE(contains(e.what(), "'lm_head.weight'")) << e.what();
    }
  }
}

TEST(Checkpoint, SaysWhatAPathLacks) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(contains(error_of(directory / "absent"), "no such file"));
  EXPECT_TRUE(contains(error_of(directory.path()), "config.json"));
  write_file(directory / "model.bin", "x");
  EXPECT_TRUE(contains(error_of(directory / "model.bin"), "neither a directory nor a .gguf file"));
  write_hf({}, directory / "hf");
  fs::remove(directory / "hf" / "tokenizer.json");
  EXPECT_THROW(Checkpoint::open(directory / "hf")->tokenizer(), Error);
  fs::remove(directory / "hf" / "model.safetensors");
  EXPECT_TRUE(contains(error_of(directory / "hf"), "model.safetensors"));
}

TEST(Checkpoint, SaysWhichShardIsMissingOrWrong) {
  TinyModel tiny;
  tiny.shards = 2;
  const TemporaryDirectory directory;
  write_hf(tiny, directory.path());
  const std::string shard = "model-00002-of-00002.safetensors";
  const std::string bytes = read_file(directory / shard);
  fs::remove(directory / shard);
  EXPECT_TRUE(contains(error_of(directory.path()), shard));
  write_file(directory / shard, read_file(directory / "model-00001-of-00002.safetensors"));
  EXPECT_TRUE(contains(error_of(directory.path()), "which the index says it holds"));
  write_file(directory / shard, bytes.substr(0, bytes.size() - 1));
  EXPECT_TRUE(contains(error_of(directory.path()), shard));
  write_file(directory / shard, bytes);
  EXPECT_EQ(error_of(directory.path()), "");

  const std::string index = read_file(directory / "model.safetensors.index.json");
  for (const char* name : {"../x.safetensors", "/x.safetensors", "..", ".", ""}) {
    nlohmann::json json = nlohmann::json::parse(index);
    json["weight_map"]["model.norm.weight"] = name;
    write_file(directory / "model.safetensors.index.json", json.dump());
    EXPECT_NE(error_of(directory.path()), "") << name;
  }
  for (const char* text : {"", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {"a": 1}})"}) {
    write_file(directory / "model.safetensors.index.json", text);
    EXPECT_NE(error_of(directory.path()), "") << text;
  }
}

TEST(Checkpoint, WeightsHaveToFitTheConfig) {
  const TemporaryDirectory directory;
  const fs::path config = directory / "config.json";
  write_hf({}, directory.path());
  const nlohmann::json original = read_json(config);
  const auto error_with = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json changed = original;
    changed[key] = value;
    write_file(config, changed.dump());
    return error_of(directory.path());
  };
  EXPECT_TRUE(contains(error_with("num_hidden_layers", 3), "'model.layers.2.input_layernorm.weight'"));
  EXPECT_TRUE(contains(error_with("attention_bias", true), "'model.layers.0.self_attn.q_proj.bias'"));
  const std::string shape = error_with("intermediate_size", 150);
  EXPECT_TRUE(contains(shape, "gate_proj") && contains(shape, "(151, 70)") && contains(shape, "(150, 70)") &&
              contains(shape, "intermediate size"))
      << shape;
  EXPECT_TRUE(contains(error_with("vocab_size", 1000), "model.embed_tokens.weight"));
  EXPECT_TRUE(contains(error_with("num_key_value_heads", 10), "k_proj"));
  EXPECT_EQ(error_with("tie_word_embeddings", true), "") << "a head that is not needed does no harm";
  EXPECT_EQ(error_with("num_hidden_layers", 1), "");

  write_file(config, original.dump());
  std::string bytes = read_file(directory / "model.safetensors");
  const std::size_t at = bytes.find(R"("dtype":"F32")", bytes.find("model.norm.weight"));
  bytes.replace(at, 13, R"("dtype":"I32")");
  write_file(directory / "model.safetensors", bytes);
  EXPECT_TRUE(contains(error_of(directory.path()), "type I32"));
}

// Whatever a damaged header says, opening and reading end with an Error or with numbers.
TEST(Checkpoint, SurvivesDamagedFiles) {
  TinyModel tiny;
  tiny.layers = 1;
  const TemporaryDirectory directory;
  const fs::path file = directory / "a.gguf";
  write_gguf(tiny, file, GgmlType::q8_0);
  const std::string whole = read_file(file);
  const std::size_t tensors = whole.find("token_embd.weight");
  const auto open_and_read = [&](const std::string& bytes) {
    write_file(file, bytes);
    try {
      const auto checkpoint = Checkpoint::open(file);
      checkpoint->fingerprint();
    } catch (const Error&) {
    }
  };
  for (std::size_t i = 24; i < 1000; i += 3) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x11);
    open_and_read(damaged);
  }
  for (std::size_t i = tensors; i < tensors + 600; ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x05);
    open_and_read(damaged);
  }
  for (std::size_t size = 0; size < tensors + 700; size += 11) {
    write_file(file, whole.substr(0, size));
    EXPECT_NE(error_of(file), "") << size;
  }
}

}  // namespace
}  // namespace hack::model
