#pragma once

#include <vector>

#include "model/tokenizer/tokenizer_description.hpp"

namespace hack::model {

/// A score for each entry of the vocabulary, in its order, by which SentencePiece's rule (the neighbours whose joint
/// text has the highest score are joined first) gives the ids that the tokenizer's merges give; the tokenizer's own
/// scores where it has some. An Error where no scores do: merges that leave out ways to make a text, or order them
/// otherwise.
std::vector<float> piece_scores(const TokenizerDescription& description);

}  // namespace hack::model
