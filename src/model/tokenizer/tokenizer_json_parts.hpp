#pragma once

// What the readers of tokenizer.json share.

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/tokenizer/tokenizer_description.hpp"

namespace hack::model::tokenizer_json {

using Json = nlohmann::json;

/// The member `key` of an object; null if it is not there.
inline const Json& member(const Json& object, const char* key) {
  static const Json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

inline bool flag(const Json& object, const char* key, bool otherwise) {
  const Json& value = member(object, key);
  return value.is_null() ? otherwise : value.get<bool>();
}

/// An id, -1 for what cannot be one (which Tokenizer then names with its token): get<> alone would turn 1.5 into 1.
inline std::int64_t integer(const Json& value) {
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX)) return -1;
  return value.get<std::int64_t>();
}

inline std::string type_of(const Json& object, const char* otherwise) {
  return object.is_null() ? "null" : object.value("type", std::string(otherwise));
}

/// An Error that says which part of the tokenizer is not known, unless `holds`.
inline void expect(const TokenizerDescription& description, bool holds, std::string_view part, std::string_view found,
                   std::string_view known) {
  validate(holds,
           "{}: {} {} is not supported ({}); use a model with a BPE tokenizer of bytes (Llama-3, Qwen, SmolLM2) or of "
           "SentencePiece (Llama-2, Mistral)",
           description.source, part, found, known);
}

/// Reads normalizer, pre-tokenizer and decoder: what happens to a text around the model.
void read_text_steps(const Json& root, TokenizerDescription& description);

/// Reads tokenizer_config.json and chat_template.jinja beside the tokenizer's own file, where they are there: first and
/// last token, the chat template. Returns what the former holds.
Json read_companions(const std::filesystem::path& beside, TokenizerDescription& description);

}  // namespace hack::model::tokenizer_json
