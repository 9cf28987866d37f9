#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

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
  if (description.prefix.empty() && description.suffix.empty()) {
    return description.alphabet == Alphabet::bytes ? byte_level(false) : Ordered();
  }
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

/// Where spaces are marked before tokens are looked for, or Unicode's normal form.
Ordered normalizer(const TokenizerDescription& description) {
  Ordered steps = Ordered::array();
  if (description.composes) steps.push_back({{"type", "NFC"}});
  if (description.spaces.marks && description.spaces.is_normalizer) {
    if (description.spaces.prefix == SpaceRule::Prefix::always) {
      steps.push_back({{"type", "Prepend"}, {"prepend", space_mark}});
    }
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", space_mark}});
  }
  if (steps.empty()) return nullptr;
  return steps.size() == 1 ? steps[0] : Ordered{{"type", "Sequence"}, {"normalizers", steps}};
}

/// The same behind them: Metaspace.
Ordered metaspace(const TokenizerDescription& description) {
  if (description.spaces.is_normalizer) return nullptr;
  const SpaceRule::Prefix prefix = description.spaces.prefix;
  const char* const scheme = prefix == SpaceRule::Prefix::first    ? "first"
                             : prefix == SpaceRule::Prefix::always ? "always"
                                                                   : "never";
  return {{"type", "Metaspace"},
          {"replacement", space_mark},
          {"prepend_scheme", scheme},
          {"split", !description.patterns.empty()}};
}

Ordered decoder(const TokenizerDescription& description) {
  if (description.alphabet == Alphabet::bytes) return byte_level(true);
  Ordered steps = Ordered::array();
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", space_mark}}}, {"content", " "}});
  if (description.byte_fallback) steps.push_back({{"type", "ByteFallback"}});
  steps.push_back({{"type", "Fuse"}});
  if (description.spaces.strips_first) {
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", steps}};
}

/// Every way to cut a scored text into two others, best first, as transformers converts SentencePiece's models.
std::vector<std::pair<std::string, std::string>> merges_of_scores(const TokenizerDescription& description) {
  std::vector<std::size_t> order;
  std::unordered_set<std::string_view> texts;
  for (std::size_t i = 0; i < description.scores.size(); ++i) {
    if (description.scores[i] == TokenizerDescription::never_merged) continue;
    order.push_back(i);
    texts.insert(description.vocabulary[i].first);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return description.scores[a] > description.scores[b]; });
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::size_t i : order) {
    const std::string& text = description.vocabulary[i].first;
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const std::string left = text.substr(0, cut), right = text.substr(cut);
      if (texts.count(left) > 0 && texts.count(right) > 0) out.emplace_back(left, right);
    }
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
  const auto scored = merges_of_scores(description);
  for (const auto& [left, right] : description.scores.empty() ? description.merges : scored) {
    merges.push_back(fmt::format("{} {}", left, right));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", description.unknown_token ? Ordered(*description.unknown_token) : Ordered()},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", description.fuse_unknown},
          {"byte_fallback", description.byte_fallback},
          {"ignore_merges", description.ignore_merges},
          {"vocab", Ordered::object_t(vocabulary.begin(), vocabulary.end())},
          {"merges", merges}};
}

}  // namespace

Ordered tokenizer_json_of(const TokenizerDescription& description) {
  const bool is_of_bytes = description.alphabet == Alphabet::bytes;
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added_tokens(description)},
          {"normalizer", normalizer(description)},
          {"pre_tokenizer", is_of_bytes ? pre_tokenizer(description.patterns) : metaspace(description)},
          {"post_processor", post_processor(description)},
          {"decoder", decoder(description)},
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
