#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.hpp"

namespace hack::model {

/// Which tokens of a window count. The first one never does: nothing stands before it.
enum class Scored {
  fresh,        ///< those that no window before has seen
  second_half,  ///< those behind the middle
  every         ///< as fresh; windows that stand side by side begin with the last token of the one before
};

/// What becomes of the tokens left over behind the last whole window.
enum class Tail {
  dropped,    ///< they are in no window
  shorter,    ///< they are a window
  moved_back  ///< a window that ends with them is as long as the others, and begins earlier
};

/// How losses become one number.
enum class Weighting {
  by_token,  ///< the mean over scored tokens
  by_window  ///< the mean over windows, each weighted by its number of tokens
};

/// Where the token stands that begins a text, for models that have one.
enum class BosRule {
  once,         ///< at the start of the text
  each_window,  ///< there, and in place of the first token of each window
  in_front      ///< before the text, whether the tokenizer puts it there or not; EOS where there is no BOS
};

/// How a text is cut into windows and which tokens count: one row of protocols(). Figures of different protocols do
/// not compare: the same Llama-3-8B scores 6.14 with `2048` and 6.23 with `llama.cpp`.
struct Protocol {
  std::string_view name;
  std::string_view windows;  ///< in words, for help and pages
  std::string_view scored_tokens;
  index_t context;  ///< tokens that the model reads of a window, by default; under Scored::every one more is scored
  index_t stride;   ///< distance of windows that overlap, by default; 0: windows stand side by side
  Tail tail;
  Scored scored;
  Weighting weighting;
  BosRule bos;
  bool fits_model = false;  ///< the default context is at most the one that the model was made for

  bool overlaps() const { return stride > 0; }
};

/// All that there are; the first is the default.
std::span<const Protocol> protocols();
/// Their names, as options take them.
std::vector<std::string> protocol_names();
/// The one of that name; an Error that names all of them if there is none.
const Protocol& find_protocol(std::string_view name);

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
  /// Takes the place of each window's first token (BosRule::each_window).
  std::optional<int> first_token = {};

  /// Tokens [begin, end) of a window of the text `ids`, as the model sees them.
  std::vector<int> tokens_of(const Window& window, std::span<const int> ids) const;
};

/// Cuts `tokens` tokens into windows; `context` and `stride` stand in for the protocol's own. A window in which nothing
/// is scored is left out. `limit`: at most so many windows, from the start. An Error if not one window fits, or
/// a number makes no sense.
WindowPlan plan_windows(const Protocol& protocol, index_t tokens, std::optional<index_t> context,
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

/// Perplexities that do not depend on the tokenizer, in lm-evaluation-harness's definition.
struct TextPerplexity {
  index_t words;
  index_t bytes;
  double word_perplexity;  ///< exp(Σ loss / words)
  double byte_perplexity;  ///< exp(Σ loss / bytes)
  double bits_per_byte;    ///< Σ loss / (bytes ln 2)
};

/// Of the words and bytes that the scored tokens stand for.
TextPerplexity per_word_and_byte(double nll_sum, index_t words, index_t bytes);

/// Sums in fp64 and in window order.
Perplexity score(const WindowPlan& plan, const std::vector<std::vector<float>>& losses);

}  // namespace hack::model
