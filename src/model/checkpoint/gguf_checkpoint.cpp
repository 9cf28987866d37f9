#include "model/checkpoint/gguf_checkpoint.hpp"

#include <array>
#include <string_view>
#include <utility>

#include "model/llama/names.hpp"

namespace hack::model {

namespace {

using NamePair = std::pair<std::string_view, std::string_view>;  // GGUF's name, Hugging Face's

constexpr std::array model_names = {
    NamePair{"token_embd.weight", embedding_name},
    NamePair{"output_norm.weight", final_norm_name},
    NamePair{"output.weight", head_name},
};

constexpr std::array layer_names = {
    NamePair{"attn_norm", "input_layernorm"},    NamePair{"attn_q", "self_attn.q_proj"},
    NamePair{"attn_k", "self_attn.k_proj"},      NamePair{"attn_v", "self_attn.v_proj"},
    NamePair{"attn_output", "self_attn.o_proj"}, NamePair{"ffn_norm", "post_attention_layernorm"},
    NamePair{"ffn_gate", "mlp.gate_proj"},       NamePair{"ffn_up", "mlp.up_proj"},
    NamePair{"ffn_down", "mlp.down_proj"},
};

StoredWeight stored(const GgufFile& file, const GgufTensor& tensor, index_t interleaved_head) {
  return {&file.file(), tensor.type, tensor.offset, {tensor.dims.rbegin(), tensor.dims.rend()}, interleaved_head};
}

}  // namespace

GgufCheckpoint::GgufCheckpoint(const std::filesystem::path& path)
    : Checkpoint(path), file_(path), weights_(path.string()) {
  config_ = llama_config_from_gguf(file_);
  const auto add = [&](const std::string& from, const std::string& to, index_t interleaved_head) {
    if (const GgufTensor* tensor = file_.find_tensor(from)) weights_.add(to, stored(file_, *tensor, interleaved_head));
  };
  for (const auto& [from, to] : model_names) add(std::string(from), std::string(to), 0);
  for (index_t layer = 0; layer < config_.layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    for (const auto& [from, to] : layer_names) {
      const index_t head = from == "attn_q" || from == "attn_k" ? config_.head_dim : 0;
      for (const char* part : {".weight", ".bias"}) {
        add(prefix + std::string(from) + part, layer_prefix(layer) + std::string(to) + part, head);
      }
    }
  }
  weights_.keep_implied(config_);
}

}  // namespace hack::model
