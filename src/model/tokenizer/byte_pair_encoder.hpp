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

/// Byte-level byte-pair encoding of one word: starts from one token a byte and joins the neighbours whose merge stands
/// first in the list, the leftmost of equals, until no neighbours have one. O(n log n) in the word's length.
class BytePairEncoder {
 public:
  /// Takes vocabulary (ids already checked), merges, ignore_merges and unknown_token. An Error if a merge names or
  /// makes a token that the vocabulary lacks, or is listed twice.
  explicit BytePairEncoder(const TokenizerDescription& description);

  /// Appends the ids of `word`, any bytes. A byte outside the vocabulary becomes the unknown token and, where there is
  /// none, vanishes, as in Hugging Face tokenizers.
  void encode(std::string_view word, std::vector<int>& ids) const;

 private:
  struct Merge {
    int place;  ///< in the list
    int id;     ///< of the joined token
  };
  struct Symbol;

  void add_merge(const TokenizerDescription& description, std::size_t place,
                 const std::unordered_map<std::string, int>& ids);
  const Merge* find_merge(int left, int right) const;
  std::vector<Symbol> symbols_of(std::string_view word) const;
  void merge(std::vector<Symbol>& symbols) const;

  struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  std::array<int, 256> byte_ids_{};                                          // byte → id, -1 if there is none
  std::unordered_map<std::uint64_t, Merge> merges_;                          // ids of both → merge
  std::unordered_map<std::string, int, StringHash, std::equal_to<>> words_;  // bytes → id; only to ignore merges
  std::optional<int> unknown_;
};

}  // namespace hack::model
