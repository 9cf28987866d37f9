#pragma once

#include <span>
#include <vector>

#include "model/evaluate/base_logits_file.hpp"
#include "model/evaluate/divergence_summary.hpp"
#include "model/evaluate/perplexity.hpp"

namespace hack::model {

/// Numbers of each scored token that keep_comparison() keeps: its loss, the base's, the divergence, and 1 or 0 for the
/// same top token.
inline constexpr index_t comparison_numbers = 4;

/// Compares the next-token distributions with those of a file, whose chunks are the windows of a text; `first` is the
/// chunk of the plan's first window. The model's vocabulary is the file's. Compares on the host, and appends
/// comparison_numbers numbers of each token to `kept`.
template <Device D>
void keep_comparison(Llama<D>& llama, const BaseLogitsFile& base, index_t first, const ScoredTokens<D>& tokens,
                     std::vector<float>& kept);

/// Keeps of each token its loss, and behind it its row of a file of base logits, bytes in the guise of floats.
template <Device D>
void keep_base_rows(Llama<D>& llama, const ScoredTokens<D>& tokens, std::vector<float>& kept);

/// Takes the rows out of what keep_base_rows() has kept of a window, and leaves the losses.
std::vector<float> take_base_rows(std::vector<float>& kept, index_t vocabulary);

/// A comparison of all windows: the model's losses, in `numbers`' place, and the summary.
struct ComparedWindows {
  WindowLosses losses;
  DivergenceSummary divergence;
};
ComparedWindows compared_windows(const WindowLosses& numbers);

}  // namespace hack::model
