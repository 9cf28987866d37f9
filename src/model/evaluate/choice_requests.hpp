#pragma once

#include <vector>

#include "model/evaluate/choice_items.hpp"
#include "model/evaluate/perplexity_protocol.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace hack::model {

/// The choices of some items as windows of one row of tokens: each a context and a choice, of which the choice is
/// scored. Windows stand side by side, item after item.
struct ChoiceRequests {
  std::vector<int> ids;
  WindowPlan plan;
  index_t truncated = 0;  ///< contexts that had to lose their beginning
};

/// Encodes by lm-evaluation-harness's rules: a space stands between context and choice; white space at the end of the
/// context belongs to the choice; of the tokens of both together, those behind the context's own are the choice. Texts
/// begin with BOS where the tokenizer puts it; in place of an empty context stands BOS, or else EOS. A window holds
/// at most `context` tokens and the last of the choice; what is longer loses its beginning. An Error names an item
/// that cannot be scored.
ChoiceRequests encode_choices(const std::vector<ChoiceItem>& items, const Tokenizer& tokenizer, index_t context);

}  // namespace hack::model
