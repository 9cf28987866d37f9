#include "model/checkpoint/random_checkpoint.hpp"

#include <array>
#include <cmath>

#include <fmt/core.h>

#include "kernels/error.hpp"
#include "model/checkpoint/layer_tensors.hpp"
#include "model/checkpoint/llama_tensors.hpp"
#include "svd/tile/encode_rows.hpp"

namespace hack::model {
namespace {

struct PublishedShape {
  const char* name;
  index_t hidden_size;
  index_t intermediate_size;
  index_t layers;
  index_t heads;
  index_t head_dim;
  bool tied_embeddings;
  double rope_factor;
};

constexpr std::array shapes = {
    PublishedShape{"llama-3.2-1b", 2048, 8192, 16, 32, 64, true, 32},
    PublishedShape{"llama-3.1-8b", 4096, 14336, 32, 32, 128, false, 8},
    PublishedShape{"llama-3.1-70b", 8192, 28672, 80, 64, 128, false, 8},
    PublishedShape{"llama-3.1-405b", 16384, 53248, 126, 128, 128, false, 8},
};

constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): what counts up becomes random.
std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::uint64_t key_of(std::uint64_t seed, const std::string& name) {
  std::uint64_t key = mix(seed + golden);
  for (const char c : name) key = mix(key + golden + static_cast<unsigned char>(c));
  return key;
}

/// Sum of the four 16-bit parts, each uniform on 0 … 65535, less its mean; its variance is (2^32 - 1) / 3.
std::int32_t near_normal(std::uint64_t bits) {
  const std::uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
  return static_cast<std::int32_t>(sum) - 2 * 65535;
}

}  // namespace

LlamaConfig published_config(std::string_view shape) {
  std::string known;
  for (const PublishedShape& s : shapes) {
    known += (known.empty() ? "" : ", ") + std::string(s.name);
    if (shape != s.name) continue;
    LlamaConfig config;
    config.hidden_size = s.hidden_size;
    config.intermediate_size = s.intermediate_size;
    config.layers = s.layers;
    config.heads = s.heads;
    config.kv_heads = 8;
    config.head_dim = s.head_dim;
    config.vocab_size = 128256;
    config.context_length = 131072;
    config.rms_norm_eps = 1e-5f;
    config.tied_embeddings = s.tied_embeddings;
    config.rope = {.type = RopeType::llama3,
                   .theta = 500000,
                   .factor = s.rope_factor,
                   .low_freq_factor = 1,
                   .high_freq_factor = 4,
                   .original_context = 8192};
    config.eos_ids = {128001};
    return config;
  }
  fail("unknown shape '{}' (known: {})", shape, known);
}

RandomCheckpoint::RandomCheckpoint(std::string_view shape, std::optional<index_t> layers, std::uint64_t seed,
                                   std::optional<Codec> codec)
    : Checkpoint("random " + std::string(shape)), codec_(codec) {
  config_ = published_config(shape);
  if (layers) {
    validate(*layers >= 1 && *layers <= config_.layers, "cannot cut {} to {} layers (it has {}); use 1 to {}", shape,
             *layers, config_.layers, config_.layers);
    config_.layers = *layers;
  }
  for (const TensorSpec& spec : llama_tensors(config_)) {
    tensors_.insert({spec.name, {spec.rows, spec.cols, spec.is_vector, key_of(seed, spec.name)}});
  }
}

const RandomCheckpoint::RandomTensor& RandomCheckpoint::find(const std::string& name) const {
  const auto at = tensors_.find(name);
  validate(at != tensors_.end(), "{} has no tensor '{}'", path_.string(), name);
  return at->second;
}

TensorInfo RandomCheckpoint::info(const std::string& name) const {
  const RandomTensor& t = find(name);
  return {t.rows, t.cols, "BF16", t.rows * t.cols * size_of(DType::bf16)};
}

void RandomCheckpoint::read(const std::string& name, index_t row, index_t col, MatrixView<float> out) const {
  const RandomTensor& t = find(name);
  HACK_EXPECT(row >= 0 && out.rows >= 0 && row <= t.rows - out.rows);
  HACK_EXPECT(col >= 0 && out.cols >= 0 && col <= t.cols - out.cols);
  const auto scale = static_cast<float>(std::sqrt(3 / (0x1p32 - 1) / static_cast<double>(t.cols)));
  for (index_t i = 0; i < out.rows; ++i) {
    const std::uint64_t first = t.key + static_cast<std::uint64_t>((row + i) * t.cols + col) * golden;
    for (index_t j = 0; j < out.cols; ++j) {
      const auto x = static_cast<float>(near_normal(mix(first + static_cast<std::uint64_t>(j) * golden)));
      out(i, j) = t.is_vector ? 1.0f : to_float(to_bf16(scale * x));
    }
  }
}

std::optional<Codec> RandomCheckpoint::codec(const std::string& name) const {
  return find(name).is_vector || name == embedding_tensor.name ? std::nullopt : codec_;
}

void RandomCheckpoint::read_encoded(const std::string& name, svd::Range rows, svd::Range cols, std::byte* codes,
                                    std::byte* scales) const {
  HACK_EXPECT(codec(name).has_value());
  const std::vector<double> weights(static_cast<std::size_t>(cols.size()), 1.0);
  std::vector<float> row(weights.size());
  for (index_t r = rows.begin; r < rows.end; ++r) {
    const MatrixView<float> view(row.data(), 1, cols.size());
    read(name, r, cols.begin, view);
    svd::encode_rows(*codec_, view, weights, codes, scales);
    codes += code_bytes(*codec_, cols.size());
    scales += scale_bytes(*codec_, cols.size());
  }
}

std::uint64_t RandomCheckpoint::digest(const std::string& name, index_t first, index_t rows) const {
  return mix(mix(find(name).key + static_cast<std::uint64_t>(first)) + static_cast<std::uint64_t>(rows));
}

Tokenizer RandomCheckpoint::tokenizer() const {
  fail("{} has no tokenizer (its weights are random); give a model's directory or .gguf file to read text",
       path_.string());
}

}  // namespace hack::model
