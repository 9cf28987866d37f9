#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "model/checkpoint/llama_config.hpp"

namespace hack::model {

/// What a field has where a file leaves it out; nothing where the numbers read before it do not say.
template <class T>
using Default = std::optional<T> (*)(const LlamaConfig& before);

/// The largest value of a size.
using Bound = index_t (*)(const LlamaConfig& config);

/// A size of a LlamaConfig: one row of the table that readers of config.json and of GGUF metadata, the range check,
/// the fingerprint, the description in archives and the tests' models go by. Without a default a file must have it.
struct SizeField {
  std::string_view name;   ///< in archives
  std::string_view words;  ///< in messages: "the hidden size"
  index_t LlamaConfig::*member;
  Bound most;             ///< 1 to this
  std::string_view hf;    ///< key of config.json
  std::string_view gguf;  ///< key behind the architecture's name and a dot; empty: the tensors say it
  Default<index_t> hf_default;
  Default<index_t> gguf_default;
};

/// A flag. GGUF files have it where they hold, or lack, a tensor.
struct FlagField {
  std::string_view name;
  bool LlamaConfig::*member;
  std::string_view hf;           ///< false where the file leaves it out; empty: the architecture says it
  std::string_view gguf_tensor;  ///< whose presence says it
  bool if_absent;                ///< the flag is set where the tensor is absent
  bool is_hashed = true;         ///< a part of fingerprints; the others' tensors are
};

/// The numbers that are neither.
struct NumberField {
  std::string_view name;
  std::string_view words;
  float LlamaConfig::*member;
  std::string_view hf;
  std::string_view gguf;  ///< required
  float hf_default;
};

/// A number of the rotary embedding, positive. It counts from a type on, in the order of RopeType, and files that name
/// such a type must have it; theta, which always counts, has a default.
struct RopeField {
  std::string_view name;
  double RopeScaling::*member;
  std::string_view hf;
  RopeType from;
};

std::span<const SizeField> size_fields();
std::span<const FlagField> flag_fields();
std::span<const NumberField> number_fields();
std::span<const RopeField> rope_fields();

/// What a family's config.json says of sliding windows: nothing, always (absent: 4096 tokens), or where
/// use_sliding_window is set.
enum class WindowRule { none, always, flagged };

/// A family of models that is supported, by its names in both formats.
struct Architecture {
  std::string_view hf;        ///< model_type of config.json
  std::string_view hf_class;  ///< the class of transformers that runs it
  std::string_view gguf;      ///< general.architecture, which metadata keys begin with
  /// Its GGUF files keep the pairs of rows that the rotary embedding turns side by side (LayerTensor::turns_in_gguf).
  bool pairs_rows;
  bool LlamaConfig::*implies;  ///< a flag that is set in all of its models; null: none
  bool reads_attention_bias;   ///< the flags of config.json that count
  bool reads_mlp_bias;
  WindowRule window;
  /// Whether a description can be of this family; of several the last one.
  bool (*fits)(const LlamaConfig& config);
};

std::span<const Architecture> architectures();

/// The one of a GGUF file; an Error if it is not supported.
const Architecture& architecture_of(const GgufFile& file);

/// The one whose models are described in this way.
const Architecture& architecture_of(const LlamaConfig& config);

/// What messages say of them: "llama is", or "a, b and c are".
std::string architecture_names();

}  // namespace hack::model
