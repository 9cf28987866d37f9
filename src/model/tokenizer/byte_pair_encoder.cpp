#include "model/tokenizer/byte_pair_encoder.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <queue>
#include <tuple>
#include <utility>

#include "kernels/error.hpp"
#include "model/tokenizer/byte_alphabet.hpp"
#include "model/tokenizer/unicode.hpp"

namespace hack::model {
namespace {

constexpr int none = -1;

std::uint64_t pair_key(int left, int right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

/// Two neighbours that may be joined. It stays in the queue when one of them is joined elsewhere: ids tell.
struct Candidate {
  int place;
  int position;
  int left;
  int right;
  int joined;

  bool operator<(const Candidate& other) const {  // the queue hands out the greatest
    return std::tie(place, position) > std::tie(other.place, other.position);
  }
};

}  // namespace

/// A link of the list of the word's tokens; one joined into its left neighbour has id none.
struct BytePairEncoder::Symbol {
  int id;
  int previous;
  int next;
};

BytePairEncoder::BytePairEncoder(const TokenizerDescription& description)
    : alphabet_(description.alphabet), fuses_unknown_(description.fuse_unknown) {
  byte_ids_.fill(none);
  std::unordered_map<std::string, int> ids;
  ids.reserve(description.vocabulary.size());
  for (const auto& [text, id] : description.vocabulary) {
    ids.emplace(text, static_cast<int>(id));
    add_entry(description, text, static_cast<int>(id));
  }
  if (description.unknown_token) {
    const auto unknown = ids.find(*description.unknown_token);
    validate(unknown != ids.end(), "{}: the unknown token '{}' is not in the vocabulary; repair the file",
             description.source, *description.unknown_token);
    unknown_ = unknown->second;
  }
  validate(description.merges.size() < static_cast<std::size_t>(std::numeric_limits<int>::max()),
           "{}: {} merges are too many; repair the file", description.source, description.merges.size());
  merges_.reserve(description.merges.size());
  for (std::size_t place = 0; place < description.merges.size(); ++place) add_merge(description, place, ids);
  if (!description.scores.empty()) add_scored_merges(description);
}

void BytePairEncoder::add_entry(const TokenizerDescription& description, const std::string& text, int id) {
  if (alphabet_ == Alphabet::characters) {
    const auto byte = byte_of_fallback(text);
    if (byte && description.byte_fallback) byte_ids_[*byte] = id;
    if (!text.empty() && character_bytes(text, 0) == text.size()) characters_.emplace(text, id);
    if (description.ignore_merges) words_.emplace(text, id);
    return;
  }
  const auto bytes = bytes_of(text);
  if (!bytes) return;
  if (bytes->size() == 1) byte_ids_[static_cast<unsigned char>(bytes->front())] = id;
  if (description.ignore_merges) words_.emplace(*bytes, id);
}

void BytePairEncoder::add_merge(const TokenizerDescription& description, std::size_t place,
                                const std::unordered_map<std::string, int>& ids) {
  const auto& [left, right] = description.merges[place];
  const auto id_of = [&](const std::string& text) {
    const auto found = ids.find(text);
    validate(found != ids.end(),
             "{}: merge {} ('{}' with '{}') needs '{}', which is not in the vocabulary; repair the file",
             description.source, place, left, right, text);
    return found->second;
  };
  const Merge merge{static_cast<int>(place), id_of(left + right)};
  const bool is_first = merges_.emplace(pair_key(id_of(left), id_of(right)), merge).second;
  validate(is_first, "{}: merge {} ('{}' with '{}') is listed twice; repair the file", description.source, place, left,
           right);
}

void BytePairEncoder::add_scored_merges(const TokenizerDescription& description) {
  constexpr std::size_t longest = 4096;  // in bytes; the cuts of one are as many, each as long
  const std::vector<float>& scores = description.scores;
  validate(scores.size() == description.vocabulary.size(), "{}: {} scores for {} tokens; repair the file",
           description.source, scores.size(), description.vocabulary.size());
  std::unordered_map<std::string_view, std::size_t> entry_of;
  std::vector<float> order;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::string& text = description.vocabulary[i].first;
    validate(!std::isnan(scores[i]), "{}: the score of token '{}' is no number; repair the file", description.source,
             text);
    if (scores[i] == TokenizerDescription::never_merged) continue;
    validate(text.size() <= longest, "{}: a token has {} bytes, at most {} expected; repair the file",
             description.source, text.size(), longest);
    entry_of.emplace(text, i);
    order.push_back(scores[i]);
  }
  std::sort(order.begin(), order.end(), std::greater<>());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  for (const auto& [text, entry] : entry_of) {
    if (text.empty()) continue;
    const auto place = std::lower_bound(order.begin(), order.end(), scores[entry], std::greater<>()) - order.begin();
    for (std::size_t cut = character_bytes(text, 0); cut < text.size(); cut += character_bytes(text, cut)) {
      const auto left = entry_of.find(text.substr(0, cut)), right = entry_of.find(text.substr(cut));
      if (left == entry_of.end() || right == entry_of.end()) continue;
      const auto id_of = [&](std::size_t i) { return static_cast<int>(description.vocabulary[i].second); };
      merges_.emplace(pair_key(id_of(left->second), id_of(right->second)),
                      Merge{static_cast<int>(place), id_of(entry)});
    }
  }
}

void BytePairEncoder::encode(std::string_view word, std::vector<int>& ids) const {
  if (const auto whole = words_.find(word); whole != words_.end()) {
    ids.push_back(whole->second);
    return;
  }
  validate(word.size() < static_cast<std::size_t>(std::numeric_limits<int>::max()),
           "a word of {} bytes is too long (it must be below 2 GiB); split the text", word.size());
  std::vector<Symbol> symbols = symbols_of(word);
  merge(symbols);
  for (const Symbol& symbol : symbols) {
    if (symbol.id != none) ids.push_back(symbol.id);
  }
}

const BytePairEncoder::Merge* BytePairEncoder::find_merge(int left, int right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::vector<BytePairEncoder::Symbol> BytePairEncoder::symbols_of(std::string_view word) const {
  std::vector<int> ids;  // (bytes or characters of the word that have a token)
  ids.reserve(word.size());
  if (alphabet_ == Alphabet::characters) {
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t bytes = character_bytes(word, at);
      add_character(word.substr(at, bytes), ids);
      at += bytes;
    }
  } else {
    for (const char byte : word) {
      int id = byte_ids_[static_cast<unsigned char>(byte)];
      if (id == none && unknown_) id = *unknown_;
      if (id != none) ids.push_back(id);
    }
  }
  std::vector<Symbol> symbols(ids.size());
  for (int i = 0; i < static_cast<int>(ids.size()); ++i) symbols[i] = {ids[i], i - 1, i + 1};
  if (!symbols.empty()) symbols.back().next = none;
  return symbols;
}

void BytePairEncoder::add_character(std::string_view character, std::vector<int>& ids) const {
  if (const auto own = characters_.find(character); own != characters_.end()) {
    ids.push_back(own->second);
    return;
  }
  const auto id_of = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
  if (std::none_of(character.begin(), character.end(), [&](char byte) { return id_of(byte) == none; })) {
    for (const char byte : character) ids.push_back(id_of(byte));
    return;
  }
  if (unknown_ && !(fuses_unknown_ && !ids.empty() && ids.back() == *unknown_)) ids.push_back(*unknown_);
}

void BytePairEncoder::merge(std::vector<Symbol>& symbols) const {
  std::vector<Candidate> initial;
  initial.reserve(symbols.size());
  const auto candidate_at = [&](int position) -> std::optional<Candidate> {
    if (position == none || symbols[position].next == none) return std::nullopt;
    const int left = symbols[position].id;
    const int right = symbols[symbols[position].next].id;
    const Merge* const merge = find_merge(left, right);
    if (merge == nullptr) return std::nullopt;
    return Candidate{merge->place, position, left, right, merge->id};
  };
  for (int position = 0; position < static_cast<int>(symbols.size()); ++position) {
    if (const auto candidate = candidate_at(position)) initial.push_back(*candidate);
  }
  std::priority_queue<Candidate> candidates(std::less<Candidate>{}, std::move(initial));

  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = symbols[best.position];
    if (left.id != best.left || left.next == none || symbols[left.next].id != best.right) continue;
    Symbol& right = symbols[left.next];
    left.id = best.joined;
    left.next = right.next;
    right.id = none;
    if (left.next != none) symbols[left.next].previous = best.position;
    if (const auto candidate = candidate_at(left.previous)) candidates.push(*candidate);
    if (const auto candidate = candidate_at(best.position)) candidates.push(*candidate);
  }
}

}  // namespace hack::model
