#pragma once

#include <functional>
#include <span>

#include "model/draft/draft_decoder.hpp"
#include "model/llama/generate.hpp"

namespace hack::model {

/// A text made with a draft, and what the draft did.
struct DraftedText {
  Generated text;
  index_t passes = 0;        ///< of the model, those with proposed tokens
  index_t proposed = 0;      ///< tokens
  index_t accepted = 0;      ///< of the proposed tokens
  index_t plain_passes = 0;  ///< of the model alone: one token each
  DraftCosts costs;          ///< at the end, on rank 0
  index_t best_length = 0;   ///< proposed tokens a pass that pay most by these costs; 0: none do
};

/// generate() with a draft: the same ids on CPUs, whatever the draft is. An Error where the prompt is empty.
/// Collective.
template <Device D>
DraftedText generate_drafted(const DraftedModel<D>& models, std::span<const int> prompt, const GenerateOptions& options,
                             Sampler& sampler, DraftLength& length, const std::function<bool(int)>& on_token);

}  // namespace hack::model
