#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/tokenizer_description.hpp"

namespace hack::model {

/// Byte-pair encoding of one word: starts from one token a byte, or a character, and joins the neighbours whose merge
/// stands first in the list (or whose joined text has the highest score), the leftmost of equals, until no neighbours
/// have one. O(n log n) in the word's length.
class BytePairEncoder {
 public:
  /// Takes vocabulary (ids already checked), alphabet, merges or scores, ignore_merges, unknown_token and what goes
  /// with it. An Error if a merge names or makes a token that the vocabulary lacks, or is listed twice.
  explicit BytePairEncoder(const TokenizerDescription& description);

  /// Appends the ids of `word`: any bytes, or UTF-8 in the alphabet of characters. A byte outside the vocabulary
  /// becomes the unknown token and, where there is none, vanishes, as in Hugging Face tokenizers; a character becomes
  /// the tokens of its bytes first, where the file has them.
  void encode(std::string_view word, std::vector<int>& ids) const;

 private:
  struct Merge {
    int place;  ///< in the list, or among the scores
    int id;     ///< of the joined token
  };
  struct Symbol;

  void add_entry(const TokenizerDescription& description, const std::string& text, int id);
  void add_merge(const TokenizerDescription& description, std::size_t place,
                 const std::unordered_map<std::string, int>& ids);
  /// Every way to cut a scored text into two others is a merge.
  void add_scored_merges(const TokenizerDescription& description);
  const Merge* find_merge(int left, int right) const;
  std::vector<Symbol> symbols_of(std::string_view word) const;
  void add_character(std::string_view character, std::vector<int>& ids) const;
  void merge(std::vector<Symbol>& symbols) const;

  struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  std::array<int, 256> byte_ids_{};                                               // byte → id, -1 if there is none
  std::unordered_map<std::uint64_t, Merge> merges_;                               // ids of both → merge
  std::unordered_map<std::string, int, StringHash, std::equal_to<>> words_;       // bytes → id; only to ignore merges
  std::unordered_map<std::string, int, StringHash, std::equal_to<>> characters_;  // of that alphabet → id
  Alphabet alphabet_;
  bool fuses_unknown_;
  std::optional<int> unknown_;
};

}  // namespace hack::model
