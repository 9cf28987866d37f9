#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/tokenizer_description.hpp"

namespace hack::model {

/// Finds added tokens that are written out in a text: at each place the longest one, from left to right.
class AddedTokens {
 public:
  /// Texts must be different and not empty.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  /// Calls visit with each piece of `text`, valid UTF-8, in order: a token with its id, or what lies between tokens
  /// with none. White space that a token takes along is part of no other piece.
  void split(std::string_view text, const std::function<void(std::string_view, std::optional<int>)>& visit) const;

 private:
  struct Found {
    const AddedToken* token;
    std::size_t end;
  };
  std::optional<Found> longest_at(std::string_view text, std::size_t at) const;

  std::vector<AddedToken> tokens_;
  /// A trie: (node, byte) → node. Node 0 is the root.
  std::unordered_map<std::uint64_t, std::uint64_t> children_;
  std::unordered_map<std::uint64_t, std::size_t> token_of_node_;
  std::bitset<256> first_bytes_;
};

}  // namespace hack::model
