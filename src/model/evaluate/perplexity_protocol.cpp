#include "model/evaluate/perplexity_protocol.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numbers>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

constexpr Protocol rows[] = {
    // GPTQ, SVD-LLM, LowRankArena
    {.name = "2048",
     .windows = "side by side, the tail dropped",
     .scored_tokens = "all but the first token",
     .context = 2048,
     .stride = 0,
     .tail = Tail::dropped,
     .scored = Scored::fresh,
     .weighting = Weighting::by_token,
     .bos = BosRule::once},
    {.name = "hack",
     .windows = "side by side, the last one shorter, weighted by length",
     .scored_tokens = "all but the first token",
     .context = 512,
     .stride = 0,
     .tail = Tail::shorter,
     .scored = Scored::fresh,
     .weighting = Weighting::by_window,
     .bos = BosRule::once},
    // llama-perplexity
    {.name = "llama.cpp",
     .windows = "side by side, the tail dropped, BOS in front where the model has one",
     .scored_tokens = "the second half",
     .context = 512,
     .stride = 0,
     .tail = Tail::dropped,
     .scored = Scored::second_half,
     .weighting = Weighting::by_token,
     .bos = BosRule::each_window},
    // Hugging Face's guide to perplexity
    {.name = "stride",
     .windows = "overlapping, a stride apart",
     .scored_tokens = "what is new in each",
     .context = 1024,
     .stride = 512,
     .tail = Tail::shorter,
     .scored = Scored::fresh,
     .weighting = Weighting::by_token,
     .bos = BosRule::once},
    // loglikelihood_rolling of lm-evaluation-harness
    {.name = "lm-eval",
     .windows = "side by side behind BOS (or EOS), the last one moved back to full length",
     .scored_tokens = "every token of the text",
     .context = 2048,
     .stride = 0,
     .tail = Tail::moved_back,
     .scored = Scored::every,
     .weighting = Weighting::by_token,
     .bos = BosRule::in_front,
     .fits_model = true},
};

std::vector<Window> cut(const Protocol& protocol, index_t tokens, index_t context, index_t stride) {
  const index_t length = protocol.scored == Scored::every ? context + 1 : context;
  std::vector<Window> windows;
  index_t seen = 0;
  for (index_t next = 0; seen < tokens; next += stride) {
    const index_t end = std::min(next + length, tokens);
    if (protocol.tail == Tail::dropped && end - next < length) break;
    const index_t begin = protocol.tail == Tail::moved_back ? std::max<index_t>(0, end - length) : next;
    const index_t unseen = std::max<index_t>(1, seen - begin);
    const Window window{begin, end, protocol.scored == Scored::second_half ? context / 2 + 1 : unseen};
    if (window.scored() > 0) windows.push_back(window);
    seen = end;
  }
  return windows;
}

}  // namespace

std::span<const Protocol> protocols() { return rows; }

std::vector<std::string> protocol_names() {
  std::vector<std::string> names;
  for (const Protocol& protocol : rows) names.emplace_back(protocol.name);
  return names;
}

const Protocol& find_protocol(std::string_view name) {
  std::string known;
  for (const Protocol& protocol : rows) {
    if (protocol.name == name) return protocol;
    known += (known.empty() ? "" : ", ") + std::string(protocol.name);
  }
  fail("unknown protocol '{}' (known: {})", name, known);
}

WindowPlan plan_windows(const Protocol& protocol, index_t tokens, std::optional<index_t> context,
                        std::optional<index_t> stride, std::optional<index_t> limit) {
  WindowPlan plan{protocol, context.value_or(protocol.context), 0, {}};
  validate(plan.context >= 2, "a context of {} tokens is too short (a window needs at least 2)", plan.context);
  validate(!stride || protocol.overlaps(), "windows of protocol {} stand side by side and have no stride",
           protocol.name);
  plan.stride = protocol.overlaps() ? stride.value_or(std::min(protocol.stride, plan.context)) : plan.context;
  validate(plan.stride >= 1 && plan.stride <= plan.context, "a stride of {} does not lie between 1 and the context, {}",
           plan.stride, plan.context);
  validate(!limit || *limit >= 1, "{} windows are none to score (at least 1 is needed)", limit.value_or(0));
  plan.windows = cut(protocol, tokens, plan.context, plan.stride);
  validate(!plan.windows.empty(), "the text has {} tokens, not one window of {} (protocol {})", tokens, plan.context,
           protocol.name);
  if (limit && *limit < std::ssize(plan.windows)) plan.windows.resize(*limit);
  return plan;
}

std::vector<int> WindowPlan::tokens_of(const Window& window, std::span<const int> ids) const {
  std::vector<int> tokens(ids.begin() + window.begin, ids.begin() + window.end);
  if (first_token) tokens.front() = *first_token;
  return tokens;
}

WindowPlan slice_of(const WindowPlan& plan, index_t part, index_t parts) {
  HACK_EXPECT(part >= 0 && part < parts);
  const index_t windows = std::ssize(plan.windows);
  validate(parts <= windows, "there are no more than {} windows for {} slices", windows, parts);
  const index_t begin = windows / parts * part + std::min(part, windows % parts);
  const index_t end = begin + windows / parts + (part < windows % parts ? 1 : 0);
  WindowPlan slice = plan;
  slice.windows.assign(plan.windows.begin() + begin, plan.windows.begin() + end);
  slice.first = plan.first + begin;
  return slice;
}

TextPerplexity per_word_and_byte(double nll_sum, index_t words, index_t bytes) {
  const double per_byte = nll_sum / static_cast<double>(bytes);
  return {words, bytes, std::exp(nll_sum / static_cast<double>(words)), std::exp(per_byte),
          per_byte / std::numbers::ln2};
}

Perplexity score(const WindowPlan& plan, const std::vector<std::vector<float>>& losses) {
  HACK_EXPECT(losses.size() == plan.windows.size());
  double sum = 0, squares = 0, weighted = 0, weight = 0;
  index_t scored = 0;
  for (std::size_t w = 0; w < losses.size(); ++w) {
    double window_sum = 0;
    for (float loss : losses[w]) {
      window_sum += loss;
      squares += static_cast<double>(loss) * loss;
    }
    sum += window_sum;
    scored += std::ssize(losses[w]);
    const auto tokens = static_cast<double>(plan.windows[w].size());
    if (!losses[w].empty()) {
      weighted += window_sum / static_cast<double>(losses[w].size()) * tokens;
      weight += tokens;
    }
  }
  const auto n = static_cast<double>(scored);
  const double mean = plan.protocol.weighting == Weighting::by_window ? weighted / weight : sum / n;
  const double variance = std::max(0.0, squares / n - (sum / n) * (sum / n));
  const double error = scored > 1 ? std::sqrt(variance / (n - 1)) : 0.0;
  return {std::exp(mean), std::exp(mean) * error, sum, scored};
}

}  // namespace hack::model
