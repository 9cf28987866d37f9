#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/tokenizer_writers.hpp"

namespace hack::model {
namespace {

using Ordered = nlohmann::ordered_json;

std::string text_of(const TokenizerDescription& description, std::int64_t id) {
  for (const auto& [text, known] : description.vocabulary) {
    if (known == id) return text;
  }
  for (const AddedToken& token : description.added_tokens) {
    if (token.id == id) return token.text;
  }
  return "";
}

Ordered byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

/// Patterns that steps of their own stand for, the others as Split.
Ordered pre_tokenizer(const std::vector<std::string>& patterns) {
  Ordered steps = Ordered::array();
  for (std::size_t p = 0; p < patterns.size(); ++p) {
    if (patterns[p] == byte_level_pattern && p + 1 == patterns.size()) break;  // ByteLevel's own
    if (patterns[p] == digit_pattern) {
      steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
    } else {
      steps.push_back(
          {{"type", "Split"}, {"pattern", {{"Regex", patterns[p]}}}, {"behavior", "Isolated"}, {"invert", false}});
    }
  }
  steps.push_back(byte_level(!patterns.empty() && patterns.back() == byte_level_pattern));
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

Ordered special_pieces(const TokenizerDescription& description, const std::vector<std::int64_t>& ids, int type) {
  Ordered pieces = Ordered::array();
  for (const std::int64_t id : ids) {
    pieces.push_back({{"SpecialToken", {{"id", text_of(description, id)}, {"type_id", type}}}});
  }
  return pieces;
}

/// The ids that stand around a text.
Ordered post_processor(const TokenizerDescription& description) {
  if (description.prefix.empty() && description.suffix.empty()) return byte_level(false);
  const auto around = [&](const char* text, int type) {
    Ordered pieces = special_pieces(description, description.prefix, type);
    pieces.push_back({{"Sequence", {{"id", text}, {"type_id", type}}}});
    for (const Ordered& piece : special_pieces(description, description.suffix, type)) pieces.push_back(piece);
    return pieces;
  };
  const Ordered single = around("A", 0);
  Ordered pair = single;
  for (const Ordered& piece : around("B", 1)) pair.push_back(piece);
  Ordered tokens = Ordered::object();
  for (const std::vector<std::int64_t>* ids : {&description.prefix, &description.suffix}) {
    for (const std::int64_t id : *ids) {
      const std::string text = text_of(description, id);
      tokens[text] = {{"id", text}, {"ids", Ordered::array({id})}, {"tokens", Ordered::array({text})}};
    }
  }
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

Ordered added_tokens(const TokenizerDescription& description) {
  std::vector<AddedToken> tokens = description.added_tokens;
  std::sort(tokens.begin(), tokens.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  Ordered out = Ordered::array();
  for (const AddedToken& token : tokens) {
    out.push_back({{"id", token.id},
                   {"content", token.text},
                   {"single_word", false},
                   {"lstrip", token.strips_left},
                   {"rstrip", token.strips_right},
                   {"normalized", token.normalized},
                   {"special", token.special}});
  }
  return out;
}

Ordered bpe_model(const TokenizerDescription& description) {
  std::map<std::int64_t, std::string> by_id;
  for (const auto& [text, id] : description.vocabulary) by_id.emplace(id, text);
  std::vector<std::pair<std::string, Ordered>> vocabulary;  // an object of ordered_json would look every key up
  vocabulary.reserve(by_id.size());
  for (const auto& [id, text] : by_id) vocabulary.emplace_back(text, id);
  Ordered merges = Ordered::array();
  for (const auto& [left, right] : description.merges) merges.push_back(fmt::format("{} {}", left, right));
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", description.unknown_token ? Ordered(*description.unknown_token) : Ordered()},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", description.ignore_merges},
          {"vocab", Ordered::object_t(vocabulary.begin(), vocabulary.end())},
          {"merges", merges}};
}

}  // namespace

Ordered tokenizer_json_of(const TokenizerDescription& description) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added_tokens(description)},
          {"normalizer", nullptr},
          {"pre_tokenizer", pre_tokenizer(description.patterns)},
          {"post_processor", post_processor(description)},
          {"decoder", byte_level(true)},
          {"model", bpe_model(description)}};
}

Ordered tokenizer_config_of(const TokenizerDescription& description) {
  Ordered out = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  if (description.bos) out["bos_token"] = text_of(description, *description.bos);
  if (description.eos) out["eos_token"] = text_of(description, *description.eos);
  if (!description.chat_template.empty()) out["chat_template"] = description.chat_template;
  return out;
}

}  // namespace hack::model
