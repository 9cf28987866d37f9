#include "model/tokenizer/added_tokens.hpp"

#include <algorithm>
#include <utility>

#include "model/tokenizer/unicode.hpp"

namespace hack::model {
namespace {

std::uint64_t edge(std::uint64_t node, char byte) { return node << 8 | static_cast<unsigned char>(byte); }

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    std::uint64_t node = 0;
    for (const char byte : tokens_[i].text)
      node = children_.try_emplace(edge(node, byte), children_.size() + 1).first->second;
    token_of_node_.emplace(node, i);
    first_bytes_.set(static_cast<unsigned char>(tokens_[i].text.front()));
  }
}

std::optional<AddedTokens::Found> AddedTokens::longest_at(std::string_view text, std::size_t at) const {
  std::optional<Found> found;
  if (!first_bytes_[static_cast<unsigned char>(text[at])]) return found;
  std::uint64_t node = 0;
  for (; at < text.size(); ++at) {
    const auto child = children_.find(edge(node, text[at]));
    if (child == children_.end()) break;
    node = child->second;
    const auto token = token_of_node_.find(node);
    if (token != token_of_node_.end()) found = Found{&tokens_[token->second], at + 1};
  }
  return found;
}

void AddedTokens::split(std::string_view text,
                        const std::function<void(std::string_view, std::optional<int>)>& visit) const {
  std::size_t done = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto found = longest_at(text, at);
    if (!found) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = found->end;
    if (found->token->strips_left) begin = std::max(done, begin - trailing_white_space(text.substr(0, begin)));
    if (found->token->strips_right) end += leading_white_space(text.substr(end));
    if (done < begin) visit(text.substr(done, begin - done), std::nullopt);
    visit(text.substr(begin, end - begin), static_cast<int>(found->token->id));
    done = end;
    at = found->end;
  }
  if (done < text.size()) visit(text.substr(done), std::nullopt);
}

}  // namespace hack::model
