#include "model/tokenizer/tokenizer_scheme.hpp"

#include "kernels/error.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"

namespace hack::model {
namespace {

struct NamedScheme {
  std::string_view name;
  TokenizerScheme scheme;
};

/// Of several names of one scheme the first one is written.
const std::vector<NamedScheme>& schemes() {
  static const std::vector<NamedScheme> all = {
      {"smollm", {{digit_pattern, byte_level_pattern}}},
      {"llama-bpe", {{llama3_pattern}, true, true}},
      {"llama3", {{llama3_pattern}, true, true}},
      {"llama-v3", {{llama3_pattern}, true, true}},
      {"gpt-2", {{byte_level_pattern}}},
      {"qwen2", {{qwen2_pattern}, false, false, true}},
      {"tekken", {{tekken_pattern}, true, true}},
      {"default", {{R"([\p{P}\$\+<=>\^~\|]+)", byte_level_pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}}},
  };
  return all;
}

}  // namespace

TokenizerScheme scheme_named(const std::string& name, const std::string& source) {
  for (const NamedScheme& known : schemes()) {
    if (known.name == name) return known.scheme;
  }
  fail(
      "{}: tokenizer.ggml.pre '{}' is not supported (smollm, llama-bpe, llama3, llama-v3, gpt-2, qwen2, tekken and "
      "default are); "
      "use the model's Hugging Face directory",
      source, name);
}

std::optional<std::string_view> scheme_name_of(const TokenizerDescription& description) {
  for (const NamedScheme& known : schemes()) {
    const TokenizerScheme& scheme = known.scheme;
    if (scheme.patterns == description.patterns && scheme.ignore_merges == description.ignore_merges &&
        scheme.composes == description.composes) {
      return known.name;
    }
  }
  return {};
}

}  // namespace hack::model
