#include "model/tokenizer/tokenizer.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>

#include "kernels/error.hpp"
#include "model/tokenizer/byte_alphabet.hpp"
#include "model/tokenizer/unicode.hpp"

namespace hack::model {
namespace {

/// Keeps a small file with one huge id from asking for gigabytes; the largest vocabularies have 2^18 entries.
constexpr std::int64_t id_limit = std::int64_t{1} << 22;

/// Id → bytes of every token. Two tokens with one id, or one text with two ids, are an Error.
class ByteTable {
 public:
  explicit ByteTable(const TokenizerDescription& description) : source_(description.source) {
    for (const auto& [text, id] : description.vocabulary) {
      validate(ids_.emplace(text, id).second, "{}: token '{}' is in the vocabulary twice; repair the file", source_,
               text);
      claim(text, id);
      bytes_[id] = bytes_of(text, description.alphabet);
    }
    std::unordered_map<std::string_view, std::int64_t> added;
    for (const AddedToken& token : description.added_tokens) {
      validate(!token.text.empty(), "{}: added token {} is empty; repair the file", source_, token.id);
      validate(added.emplace(token.text, token.id).second, "{}: added token '{}' is listed twice; repair the file",
               source_, token.text);
      const auto known = ids_.find(token.text);
      if (known == ids_.end()) {
        claim(token.text, token.id);
      } else {
        validate(known->second == token.id,
                 "{}: token '{}' has two ids ({} in the vocabulary, {} among the added tokens); repair the file",
                 source_, token.text, known->second, token.id);
      }
      bytes_[token.id] = token.normal_form.empty() ? token.text : without_space_marks(token.normal_form);
    }
    validate(!bytes_.empty(), "{}: the vocabulary is empty (no tokens); repair the file", source_);
  }

  std::vector<std::string> take() { return std::move(bytes_); }

 private:
  void claim(const std::string& text, std::int64_t id) {
    validate(id >= 0 && id < id_limit, "{}: token '{}' has the impossible id {} (below 0 or above {}); repair the file",
             source_, text, id, id_limit - 1);
    const auto index = static_cast<std::size_t>(id);
    if (index >= bytes_.size()) {
      bytes_.resize(index + 1);
      taken_.resize(index + 1);
    }
    validate(!taken_[index], "{}: token '{}' has the id {} of another token; repair the file", source_, text, id);
    taken_[index] = true;
  }

  const std::string& source_;
  std::vector<std::string> bytes_;
  std::vector<bool> taken_;
  std::unordered_map<std::string_view, std::int64_t> ids_;
};

int checked_id(const TokenizerDescription& description, std::int64_t id, std::size_t size) {
  validate(id >= 0 && id < static_cast<std::int64_t>(size),
           "{}: special token id {} is outside the vocabulary of {}; repair the file", description.source, id, size);
  return static_cast<int>(id);
}

std::vector<int> checked_ids(const TokenizerDescription& description, const std::vector<std::int64_t>& ids,
                             std::size_t size) {
  std::vector<int> checked;
  for (const std::int64_t id : ids) checked.push_back(checked_id(description, id, size));
  return checked;
}

std::vector<AddedToken> tokens_where(const TokenizerDescription& description, bool normalized) {
  std::vector<AddedToken> tokens;
  for (const AddedToken& token : description.added_tokens) {
    if (token.normalized != normalized) continue;
    tokens.push_back(token);
    if (normalized && !token.normal_form.empty()) tokens.back().text = token.normal_form;
  }
  return tokens;
}

}  // namespace

/// The ids of one text as they grow, and where those of words that came before stand among them.
class Tokenizer::Encoding {
 public:
  Encoding(const BytePairEncoder& encoder, std::size_t bytes) : encoder_(encoder) { ids_.reserve(bytes / 4 + 2); }

  void add(int id) { ids_.push_back(id); }
  void add(std::span<const int> ids) { ids_.insert(ids_.end(), ids.begin(), ids.end()); }

  void add_word(std::string_view word) {
    const auto seen = seen_.find(word);
    if (seen == seen_.end()) {
      const std::size_t begin = ids_.size();
      encoder_.encode(word, ids_);
      if (word.size() <= longest_kept && seen_.size() < most_kept) seen_.emplace(word, Range{begin, ids_.size()});
      return;
    }
    for (std::size_t i = seen->second.begin; i < seen->second.end; ++i) ids_.push_back(ids_[i]);
  }

  /// A text made of the one that is encoded; it stays.
  std::string_view keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  std::vector<int> take() { return std::move(ids_); }

 private:
  static constexpr std::size_t longest_kept = 64;
  static constexpr std::size_t most_kept = std::size_t{1} << 18;
  struct Range {
    std::size_t begin;
    std::size_t end;
  };

  const BytePairEncoder& encoder_;
  std::vector<int> ids_;
  std::deque<std::string> texts_;
  std::unordered_map<std::string_view, Range> seen_;
};

Tokenizer::Tokenizer(const TokenizerDescription& description)
    : bytes_(ByteTable(description).take()),
      prefix_(checked_ids(description, description.prefix, bytes_.size())),
      suffix_(checked_ids(description, description.suffix, bytes_.size())),
      chat_template_(description.chat_template),
      raw_tokens_(tokens_where(description, false)),
      normalized_tokens_(tokens_where(description, true)),
      composes_(description.composes),
      spaces_(description.spaces),
      pre_tokenizer_(description.patterns, description.source),
      encoder_(description) {
  if (description.bos) named_bos_ = checked_id(description, *description.bos, bytes_.size());
  if (description.eos) eos_ = checked_id(description, *description.eos, bytes_.size());
}

std::vector<int> Tokenizer::encode(std::string_view utf8, AddSpecial add_special) const {
  validate_utf8(utf8, "the text");
  Encoding encoding(encoder_, utf8.size());
  if (add_special == AddSpecial::yes) encoding.add(prefix_);

  raw_tokens_.split(utf8, [&](std::string_view piece, std::optional<int> id) {
    if (id) {
      encoding.add(*id);
    } else {
      add_piece(piece, piece.data() == utf8.data(), encoding);
    }
  });

  if (add_special == AddSpecial::yes) encoding.add(suffix_);
  return encoding.take();
}

void Tokenizer::add_piece(std::string_view piece, bool at_start, Encoding& encoding) const {
  if (composes_) piece = encoding.keep(composed(piece));
  if (spaces_.marks && spaces_.is_normalizer) {
    piece = encoding.keep(with_marked_spaces(piece, spaces_, at_start));
  }
  normalized_tokens_.split(piece, [&](std::string_view rest, std::optional<int> id) {
    if (id) {
      encoding.add(*id);
      return;
    }
    if (spaces_.marks && !spaces_.is_normalizer) {
      rest = encoding.keep(with_marked_spaces(rest, spaces_, at_start && rest.data() == piece.data()));
    }
    pre_tokenizer_.split(rest, [&](std::string_view word) { encoding.add_word(word); });
  });
}

std::string Tokenizer::decode(std::span<const int> ids) const {
  std::string bytes;
  for (const int id : ids) bytes += text(id);
  if (spaces_.strips_first && bytes.starts_with(' ')) bytes.erase(0, 1);
  return bytes;
}

std::vector<int> Tokenizer::ends() const {
  // Of Llama 3, ChatML, Phi, Gemma, GPT, Llama 2 and relatives.
  constexpr std::string_view texts[] = {"<|eot_id|>",      "<|eom_id|>",    "<|end_of_text|>", "<|im_end|>", "<|end|>",
                                        "<|end_of_turn|>", "<end_of_turn>", "<|endoftext|>",   "<EOT>",      "</s>"};
  std::vector<int> ids;
  for (int id = 0; id < static_cast<int>(size()); ++id) {
    std::string_view shown = text(id);
    if (shown.starts_with(' ')) shown.remove_prefix(1);  // of a token that is looked for with the mark of a space
    const bool is_end = std::find(std::begin(texts), std::end(texts), shown) != std::end(texts);
    if (is_end || id == eos_) ids.push_back(id);
  }
  return ids;
}

std::string_view Tokenizer::text(int id) const {
  validate(id >= 0 && id < size(),
           "token id {} is outside the vocabulary of {} (ids start at 0); use ids of this tokenizer", id, size());
  return bytes_[static_cast<std::size_t>(id)];
}

std::optional<int> Tokenizer::bos() const { return prefix_.empty() ? std::nullopt : std::optional(prefix_.front()); }

std::optional<int> Tokenizer::start() const {
  if (named_bos_) return named_bos_;
  return bos() ? bos() : eos_;
}

}  // namespace hack::model
