#include "tests/support/tiny_model.hpp"

#include <array>
#include <cmath>
#include <numbers>
#include <random>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/llama_tensors.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::testing {

using model::GgmlType;
using model::RopeType;
using model::TensorSpec;
using nlohmann::json;

namespace {

constexpr const char* end_token = "<|end|>";

std::uint64_t hash(const std::string& text, std::uint64_t state) {
  for (const char c : text) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return state;
}

/// UTF-8 of the character that stands for a byte in byte-level BPE.
std::string byte_character(int byte) {
  const auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  int code = byte;
  if (!printable(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  }
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
}

/// In order of rank; the first merged token has id 256.
std::vector<std::pair<std::string, std::string>> merges() {
  return {{"t", "h"}, {"th", "e"}, {byte_character(' '), "the"}, {"i", "n"}, {"a", "n"}, {"e", "r"}};
}

std::vector<std::string> tokens(const TinyModel& tiny) {
  std::vector<std::string> out;
  for (int byte = 0; byte < 256; ++byte) out.push_back(byte_character(byte));
  for (const auto& [left, right] : merges()) out.push_back(left + right);
  HACK_EXPECT(out.size() == tiny_end_id);
  out.push_back(end_token);
  HACK_EXPECT(tiny.vocab >= std::ssize(out));
  while (std::ssize(out) < tiny.vocab) out.push_back(fmt::format("<|{}|>", out.size()));
  return out;
}

json tokenizer_json(const TinyModel& tiny) {
  const std::vector<std::string> all = tokens(tiny);
  json vocabulary = json::object();
  json added = json::array();
  for (std::size_t id = 0; id < all.size(); ++id) {
    if (id < tiny_end_id) {
      vocabulary[all[id]] = id;
    } else {
      added.push_back({{"id", id},
                       {"content", all[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
    }
  }
  json pairs = json::array();
  for (const auto& [left, right] : merges()) pairs.push_back(left + " " + right);
  json out = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"vocab", vocabulary},
        {"merges", pairs}}}};
  if (tiny.adds_bos) {
    const json bos = {{"SpecialToken", {{"id", end_token}, {"type_id", 0}}}};
    const json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    const json second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
    const json ids = json::array({tiny_end_id});
    const json texts = json::array({end_token});
    out["post_processor"] = {{"type", "TemplateProcessing"},
                             {"single", json::array({bos, first})},
                             {"pair", json::array({bos, first, second})},
                             {"special_tokens", {{end_token, {{"id", end_token}, {"ids", ids}, {"tokens", texts}}}}}};
  }
  return out;
}

/// The architecture's row; its tensors and keys.
const model::Architecture& family(const TinyModel& tiny) { return model::architecture_of(tiny_config(tiny)); }

json config_json(const TinyModel& tiny) {
  const char* type = tiny.dtype == DType::f32 ? "float32" : tiny.dtype == DType::f16 ? "float16" : "bfloat16";
  json out = {{"architectures", json::array({family(tiny).hf_class})},
              {"model_type", family(tiny).hf},
              {"hidden_act", "silu"},
              {"rope_theta", tiny.rope.theta},
              {"bos_token_id", tiny_end_id},
              {"eos_token_id", tiny_end_id},
              {"torch_dtype", type}};
  const model::LlamaConfig config = tiny_config(tiny);
  for (const model::SizeField& field : model::size_fields()) out[field.hf] = config.*field.member;
  for (const model::NumberField& field : model::number_fields()) out[field.hf] = config.*field.member;
  for (const model::FlagField& field : model::flag_fields()) {
    if (!field.hf.empty()) out[field.hf] = config.*field.member;
  }
  if (tiny.sliding_window > 0) {
    out["sliding_window"] = tiny.sliding_window;
    out["use_sliding_window"] = true;
    out["max_window_layers"] = tiny.first_window_layer;
  }
  if (tiny.rope.type == RopeType::none) return out;
  const char* const names[] = {"default", "linear", "dynamic", "yarn", "llama3"};
  json& rope = out["rope_scaling"];
  rope["rope_type"] = names[static_cast<std::size_t>(tiny.rope.type)];
  for (const model::RopeField& field : model::rope_fields()) {
    if (field.from != RopeType::none && field.from <= tiny.rope.type) rope[field.hf] = tiny.rope.*field.member;
  }
  if (tiny.rope.type >= RopeType::yarn) rope["original_max_position_embeddings"] = tiny.rope.original_context;
  if (tiny.rope.type == RopeType::yarn) {
    rope["beta_fast"] = tiny.rope.beta_fast;
    rope["beta_slow"] = tiny.rope.beta_slow;
    rope["attention_factor"] = tiny.rope.attention_factor;
    rope["truncate"] = tiny.rope.truncates;
  }
  return out;
}

GgmlType plain_type(DType type) {
  return type == DType::f32 ? GgmlType::f32 : type == DType::f16 ? GgmlType::f16 : GgmlType::bf16;
}

/// A safetensors file of the given tensors.
std::string safetensors(const TinyModel& tiny, const std::vector<TensorSpec>& specs) {
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const TensorSpec& spec : specs) {
    const std::vector<float> values = tiny_weight(tiny, spec.name);
    const std::size_t begin = data.size();
    data += encode(plain_type(tiny.dtype), values.data(), std::ssize(values), 0);
    const auto shape = spec.is_vector ? std::vector<index_t>{spec.cols} : std::vector<index_t>{spec.rows, spec.cols};
    header[spec.name] = {{"dtype", to_string(plain_type(tiny.dtype))},
                         {"shape", shape},
                         {"data_offsets", std::vector<std::size_t>{begin, data.size()}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  ByteString out;
  return out.add_text(text).add_bytes(data).bytes();
}

/// llama.cpp's order of q's and k's rows: pairs (i, i + head / 2) side by side.
std::vector<float> interleave(const std::vector<float>& x, index_t rows, index_t head) {
  const index_t cols = std::ssize(x) / rows;
  std::vector<float> out(x.size());
  for (index_t r = 0; r < rows; ++r) {
    const index_t pair = r % head % (head / 2);
    const index_t second = r % head / (head / 2);
    const index_t to = r / head * head + 2 * pair + second;
    std::copy_n(x.begin() + r * cols, cols, out.begin() + to * cols);
  }
  return out;
}

void add_metadata(const TinyModel& tiny, GgufWriter& out) {
  const std::string name(family(tiny).gguf), keys = name + ".";
  out.add_text("general.architecture", name);
  out.add_text("general.name", "tiny");
  const model::LlamaConfig config = tiny_config(tiny);
  for (const model::SizeField& field : model::size_fields()) {
    const std::string key(field.gguf.empty() ? field.name : field.gguf);
    out.add_integer(keys + key, static_cast<std::uint32_t>(config.*field.member));
  }
  for (const model::NumberField& field : model::number_fields()) {
    out.add_number(keys + std::string(field.gguf), config.*field.member);
  }
  for (const char* key : {"attention.value_length", "rope.dimension_count"}) {
    out.add_integer(keys + key, static_cast<std::uint32_t>(tiny.head_dim));
  }
  out.add_number(keys + "rope.freq_base", static_cast<float>(tiny.rope.theta));
  if (tiny.rope.type == RopeType::linear) {
    out.add_text(keys + "rope.scaling.type", "linear");
    out.add_number(keys + "rope.scaling.factor", static_cast<float>(tiny.rope.factor));
  }
  if (tiny.rope.type == RopeType::yarn) {
    out.add_text(keys + "rope.scaling.type", "yarn");
    out.add_number(keys + "rope.scaling.factor", static_cast<float>(tiny.rope.factor));
    out.add_integer(keys + "rope.scaling.original_context_length",
                    static_cast<std::uint32_t>(tiny.rope.original_context));
    out.add_number(keys + "rope.scaling.yarn_beta_fast", static_cast<float>(tiny.rope.beta_fast));
    out.add_number(keys + "rope.scaling.yarn_beta_slow", static_cast<float>(tiny.rope.beta_slow));
    const double usual = 0.1 * std::log(tiny.rope.factor) + 1;
    out.add_number(keys + "rope.scaling.attn_factor", static_cast<float>(tiny.rope.attention_factor / usual));
  }
  if (tiny.sliding_window > 0) {
    out.add_integer(keys + "attention.sliding_window", static_cast<std::uint32_t>(tiny.sliding_window));
  }
  const std::vector<std::string> all = tokens(tiny);
  std::vector<std::int32_t> types(all.size(), 1);
  std::fill(types.begin() + tiny_end_id, types.end(), 3);
  std::vector<std::string> pairs;
  for (const auto& [left, right] : merges()) pairs.push_back(left + " " + right);
  out.add_text("tokenizer.ggml.model", "gpt2");
  out.add_text("tokenizer.ggml.pre", "gpt-2");
  out.add_texts("tokenizer.ggml.tokens", all);
  out.add_integers("tokenizer.ggml.token_type", types);
  out.add_texts("tokenizer.ggml.merges", pairs);
  out.add_integer("tokenizer.ggml.bos_token_id", tiny_end_id);
  out.add_integer("tokenizer.ggml.eos_token_id", tiny_end_id);
  out.add_flag("tokenizer.ggml.add_bos_token", tiny.adds_bos);
}

/// Divisors of the frequencies by the llama3 rule, as llama.cpp's converter puts them into rope_freqs.weight.
std::vector<float> rope_factors(const TinyModel& tiny) {
  std::vector<float> out;
  const auto context = static_cast<double>(tiny.rope.original_context);
  for (index_t i = 0; i < tiny.head_dim / 2; ++i) {
    const double frequency =
        std::pow(tiny.rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(tiny.head_dim));
    const double turns = context * frequency / (2.0 * std::numbers::pi);
    const double kept = (turns - tiny.rope.low_freq_factor) / (tiny.rope.high_freq_factor - tiny.rope.low_freq_factor);
    const double blend = std::clamp(kept, 0.0, 1.0);
    out.push_back(static_cast<float>(1.0 / ((1.0 - blend) / tiny.rope.factor + blend)));
  }
  return out;
}

}  // namespace

model::LlamaConfig tiny_config(const TinyModel& tiny) {
  model::LlamaConfig out;
  out.hidden_size = tiny.hidden;
  out.intermediate_size = tiny.intermediate;
  out.layers = tiny.layers;
  out.heads = tiny.heads;
  out.kv_heads = tiny.kv_heads;
  out.head_dim = tiny.head_dim;
  out.vocab_size = tiny.vocab;
  out.context_length = tiny.context;
  out.rms_norm_eps = 1e-5f;
  out.tied_embeddings = tiny.tied;
  out.attention_bias = tiny.attention_bias;
  out.mlp_bias = tiny.mlp_bias;
  out.qkv_bias = tiny.qkv_bias || tiny.attention_bias;
  out.qk_norm = tiny.qk_norm;
  out.sliding_window = tiny.sliding_window;
  out.first_window_layer = tiny.first_window_layer;
  out.rope = tiny.rope;
  out.eos_ids = {tiny_end_id};
  return out;
}

std::vector<float> tiny_weight(const TinyModel& tiny, const std::string& name) {
  for (const TensorSpec& spec : model::llama_tensors(tiny_config(tiny))) {
    if (spec.name != name) continue;
    std::mt19937_64 random(hash(name, tiny.seed * 0x9e3779b97f4a7c15u));
    const bool norm = spec.is_vector && name.ends_with("norm.weight");
    const double centre = norm ? 1.0 : 0.0;
    const double reach = norm ? 0.2 : spec.is_vector ? 0.1 : std::sqrt(3.0 / static_cast<double>(spec.cols));
    std::vector<float> out(static_cast<std::size_t>(spec.rows * spec.cols));
    for (float& x : out) {
      const double unit = static_cast<double>(random() >> 40) * 0x1p-23 - 1.0;  // [-1, 1)
      x = static_cast<float>(centre + reach * unit);
      if (tiny.dtype == DType::bf16) x = to_float(to_bf16(x));
      if (tiny.dtype == DType::f16) x = to_float(to_f16(x));
    }
    return out;
  }
  fail("a tiny model of these options has no tensor '{}'", name);
}

void write_hf(const TinyModel& tiny, const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  write_file(directory / "config.json", config_json(tiny).dump(1));
  write_file(directory / "tokenizer.json", tokenizer_json(tiny).dump());
  write_file(directory / "tokenizer_config.json",
             json({{"tokenizer_class", "PreTrainedTokenizerFast"}, {"bos_token", end_token}, {"eos_token", end_token}})
                 .dump());
  const std::vector<TensorSpec> specs = model::llama_tensors(tiny_config(tiny));
  if (tiny.shards == 1) return write_file(directory / "model.safetensors", safetensors(tiny, specs));
  json weight_map = json::object();
  for (int shard = 0; shard < tiny.shards; ++shard) {
    std::vector<TensorSpec> part;
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, tiny.shards);
    for (std::size_t i = static_cast<std::size_t>(shard); i < specs.size();
         i += static_cast<std::size_t>(tiny.shards)) {
      part.push_back(specs[i]);
      weight_map[specs[i].name] = name;
    }
    write_file(directory / name, safetensors(tiny, part));
  }
  write_file(directory / "model.safetensors.index.json",
             json({{"metadata", json::object()}, {"weight_map", weight_map}}).dump(1));
}

void write_gguf(const TinyModel& tiny, const std::filesystem::path& file, GgmlType type) {
  GgufWriter out;
  add_metadata(tiny, out);
  if (tiny.rope.type == RopeType::llama3) {
    const std::vector<float> factors = rope_factors(tiny);
    out.add_tensor("rope_freqs.weight", {std::ssize(factors)}, GgmlType::f32,
                   encode(GgmlType::f32, factors.data(), std::ssize(factors), 0));
  }
  for (const TensorSpec& spec : model::llama_tensors(tiny_config(tiny))) {
    std::vector<float> values = tiny_weight(tiny, spec.name);
    if (spec.turns_in_gguf && family(tiny).pairs_rows)
      values = interleave(values, spec.is_vector ? spec.cols : spec.rows, tiny.head_dim);
    const bool fits = !spec.is_vector && spec.cols % model::block_size(type) == 0;
    const GgmlType stored = fits ? type : GgmlType::f32;
    const auto dims = spec.is_vector ? std::vector<index_t>{spec.cols} : std::vector<index_t>{spec.cols, spec.rows};
    out.add_tensor(spec.gguf_name, dims, stored,
                   encode(stored, values.data(), std::ssize(values), hash(spec.name, tiny.seed)));
  }
  write_file(file, out.bytes());
}

std::vector<float> read_all(const model::Checkpoint& checkpoint, const std::string& name) {
  const model::TensorInfo info = checkpoint.info(name);
  std::vector<float> out(static_cast<std::size_t>(info.rows * info.cols));
  checkpoint.read(name, 0, 0, {out.data(), info.rows, info.cols});
  return out;
}

}  // namespace hack::testing
