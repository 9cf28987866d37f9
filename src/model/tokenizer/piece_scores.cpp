#include "model/tokenizer/piece_scores.hpp"

#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "kernels/error.hpp"
#include "model/tokenizer/byte_alphabet.hpp"
#include "model/tokenizer/unicode.hpp"

namespace hack::model {
namespace {

using Texts = std::unordered_set<std::string_view>;

/// Texts that words are made of: neither tokens that are cut out of a text before, nor bytes.
Texts mergeable_texts(const TokenizerDescription& description) {
  Texts out;
  for (const auto& [text, id] : description.vocabulary) {
    if (!text.empty() && !byte_of_fallback(text) && text != description.unknown_token) out.insert(text);
  }
  for (const AddedToken& token : description.added_tokens) out.erase(token.text);
  return out;
}

/// In how many ways the texts are two others joined.
std::size_t count_cuts(const Texts& texts) {
  std::size_t cuts = 0;
  for (const std::string_view text : texts) {
    for (std::size_t cut = character_bytes(text, 0); cut < text.size(); cut += character_bytes(text, cut)) {
      cuts += texts.count(text.substr(0, cut)) > 0 && texts.count(text.substr(cut)) > 0 ? 1 : 0;
    }
  }
  return cuts;
}

}  // namespace

std::vector<float> piece_scores(const TokenizerDescription& description) {
  if (!description.scores.empty()) return description.scores;
  const Texts texts = mergeable_texts(description);
  std::unordered_map<std::string, float> scores;
  std::string last;
  std::size_t merges = 0;
  bool is_in_order = true;
  for (const auto& [left, right] : description.merges) {
    const std::string joined = left + right;
    if (texts.count(left) == 0 || texts.count(right) == 0 || texts.count(joined) == 0) continue;
    const bool is_new = scores.emplace(joined, -static_cast<float>(scores.size())).second;
    is_in_order = is_in_order && (is_new || joined == last);
    last = joined;
    ++merges;
  }
  validate(is_in_order && merges == count_cuts(texts),
           "{}: its merges are in no order of pieces by scores, which GGUF files have for such tokenizers; export the "
           "model as a Hugging Face directory, which keeps its tokenizer",
           description.source);
  std::vector<float> out;
  out.reserve(description.vocabulary.size());
  for (const auto& [text, id] : description.vocabulary) {
    const auto found = scores.find(text);
    out.push_back(found != scores.end() ? found->second : -static_cast<float>(scores.size()));
  }
  return out;
}

}  // namespace hack::model
