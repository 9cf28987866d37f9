#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.hpp"

namespace hack::model {

/// How a text is cut into windows and which tokens count. Figures of different protocols do not compare: the same
/// Llama-3-8B scores 6.14 with `2048` and 6.23 with `llama.cpp`.
enum class Protocol { gptq_2048, hack, llama_cpp, stride };

std::string_view to_string(Protocol protocol);
/// Reads "2048", "hack", "llama.cpp" or "stride"; anything else is an Error.
Protocol parse_protocol(std::string_view name);

/// Tokens [begin, end) of the text, of which those at positions first_scored… (counted from begin) are scored.
struct Window {
  index_t begin;
  index_t end;
  index_t first_scored;  ///< >= 1: the first token of a window has nothing before it

  index_t size() const { return end - begin; }
  index_t scored() const { return end - begin - first_scored; }
};

struct WindowPlan {
  Protocol protocol;
  index_t context;
  index_t stride;  ///< distance of window starts; equals context unless windows overlap
  std::vector<Window> windows;
  index_t first = 0;  ///< number in the text of the first of these windows
};

/// Cuts `tokens` tokens into windows. Defaults: context 2048, 512, 512, 1024; stride 512 (protocol stride only).
/// `limit`: at most so many windows, from the start. An Error if not one window fits.
WindowPlan plan_windows(Protocol protocol, index_t tokens, std::optional<index_t> context,
                        std::optional<index_t> stride, std::optional<index_t> limit);

/// The windows of slice `part` of `parts`, from 0: as many as the other slices have, or one more. An Error if it is
/// empty.
WindowPlan slice_of(const WindowPlan& plan, index_t part, index_t parts);

/// Result of a plan: from the losses of every window's scored tokens, in window order.
struct Perplexity {
  double perplexity;
  double standard_error;  ///< of the perplexity, from the spread of the token losses
  double nll_sum;         ///< Σ loss over scored tokens, nats
  index_t tokens_scored;
};

/// Sums in fp64 and in window order. Protocol hack weights each window's mean loss by its number of tokens, the others
/// take the mean over scored tokens.
Perplexity score(const WindowPlan& plan, const std::vector<std::vector<float>>& losses);

}  // namespace hack::model
