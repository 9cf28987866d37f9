#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint/ggml_blocks.hpp"
#include "model/checkpoint/llama_config.hpp"

namespace hack::testing {

/// A small Llama with random weights, the same for the same options on every machine. Weights are uniform with
/// variance 1 / columns (norms 1 ± 0.2), so that logits are of order 1. The sizes a test does not choose fit nothing:
/// no multiple of 32 or 128, no even split of vocabulary, intermediate size or key/value heads over 2, 3 or 4 ranks,
/// heads · head_dim unlike the hidden size.
struct TinyModel {
  index_t hidden = 70;
  index_t intermediate = 151;
  index_t layers = 2;
  index_t heads = 10;
  index_t kv_heads = 5;
  index_t head_dim = 6;
  index_t vocab = 263;  ///< at least 263: 256 bytes, 6 merges, "<|end|>"; what is above are special tokens "<|N|>"
  index_t context = 256;
  bool tied = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  bool qkv_bias = false;       ///< makes it a Qwen2
  bool qk_norm = false;        ///< makes it a Qwen3
  index_t sliding_window = 0;  ///< makes it a Mistral if it is neither
  index_t first_window_layer = 0;
  bool adds_bos = false;  ///< the tokenizer puts "<|end|>" before a text
  model::RopeScaling rope;
  DType dtype = DType::f32;  ///< every weight is exact in this type; the type of the safetensors
  int shards = 1;            ///< safetensors files; with 2 and more there is an index
  std::uint64_t seed = 1;
};

/// The id of "<|end|>", which ends a text (and begins it with adds_bos).
inline constexpr int tiny_end_id = 262;

model::LlamaConfig tiny_config(const TinyModel& tiny);

/// The values of a weight by Hugging Face's name, row after row.
std::vector<float> tiny_weight(const TinyModel& tiny, const std::string& name);

/// Writes config.json, tokenizer.json, tokenizer_config.json and the safetensors into `directory`, which is made if it
/// does not exist. Under MPI one rank calls this, the others wait.
void write_hf(const TinyModel& tiny, const std::filesystem::path& directory);

/// Writes a GGUF file. Matrices are of `type` where their rows are a multiple of its block, else F32; vectors are F32.
/// Under F32 (or tiny.dtype's own type) the weights are exactly those of write_hf; the K-quants hold others, random
/// too.
void write_gguf(const TinyModel& tiny, const std::filesystem::path& file, model::GgmlType type);

/// A tensor of a checkpoint (rows, cols), all of it.
std::vector<float> read_all(const model::Checkpoint& checkpoint, const std::string& name);

}  // namespace hack::testing
