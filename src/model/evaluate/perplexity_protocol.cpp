#include "model/evaluate/perplexity_protocol.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

constexpr Protocol protocols[] = {Protocol::gptq_2048, Protocol::hack, Protocol::llama_cpp, Protocol::stride};

index_t default_context(Protocol protocol) {
  switch (protocol) {
    case Protocol::gptq_2048:
      return 2048;
    case Protocol::hack:
      return 512;
    case Protocol::llama_cpp:
      return 512;
    case Protocol::stride:
      return 1024;
  }
  return 0;
}

std::vector<Window> whole_windows(index_t tokens, index_t context, index_t first_scored) {
  std::vector<Window> windows;
  for (index_t begin = 0; begin + context <= tokens; begin += context) {
    windows.push_back({begin, begin + context, first_scored});
  }
  return windows;
}

/// Consecutive windows, the last one shorter; a single left-over token predicts nothing and is dropped.
std::vector<Window> windows_with_tail(index_t tokens, index_t context) {
  std::vector<Window> windows;
  for (index_t begin = 0; begin + 1 < tokens; begin += context) {
    windows.push_back({begin, std::min(begin + context, tokens), 1});
  }
  return windows;
}

/// Overlapping windows: each later one scores only the tokens that no window before it has seen.
std::vector<Window> sliding_windows(index_t tokens, index_t context, index_t stride) {
  std::vector<Window> windows;
  index_t seen = 0;
  for (index_t begin = 0; seen < tokens; begin += stride) {
    const index_t end = std::min(begin + context, tokens);
    windows.push_back({begin, end, std::max<index_t>(1, seen - begin)});
    seen = end;
  }
  return windows;
}

std::vector<Window> make_windows(Protocol protocol, index_t tokens, index_t context, index_t stride) {
  switch (protocol) {
    case Protocol::gptq_2048:
      return whole_windows(tokens, context, 1);
    case Protocol::hack:
      return windows_with_tail(tokens, context);
    case Protocol::llama_cpp:
      return whole_windows(tokens, context, context / 2 + 1);
    case Protocol::stride:
      return sliding_windows(tokens, context, stride);
  }
  return {};
}

}  // namespace

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::gptq_2048:
      return "2048";
    case Protocol::hack:
      return "hack";
    case Protocol::llama_cpp:
      return "llama.cpp";
    case Protocol::stride:
      return "stride";
  }
  return "?";
}

Protocol parse_protocol(std::string_view name) {
  for (Protocol protocol : protocols) {
    if (name == to_string(protocol)) return protocol;
  }
  fail("--protocol: unknown protocol '{}' (known: 2048, hack, llama.cpp, stride)", name);
}

WindowPlan plan_windows(Protocol protocol, index_t tokens, std::optional<index_t> context,
                        std::optional<index_t> stride, std::optional<index_t> limit) {
  WindowPlan plan{protocol, context.value_or(default_context(protocol)), 0, {}};
  validate(plan.context >= 2, "--context {} is too short (a window needs at least 2 tokens)", plan.context);
  validate(!stride || protocol == Protocol::stride,
           "--stride goes with --protocol stride only (protocol {} has windows side by side)", to_string(protocol));
  plan.stride = protocol == Protocol::stride ? stride.value_or(std::min<index_t>(512, plan.context)) : plan.context;
  validate(plan.stride >= 1 && plan.stride <= plan.context, "--stride {} must lie between 1 and the context, {}",
           plan.stride, plan.context);
  plan.windows = make_windows(protocol, tokens, plan.context, plan.stride);
  validate(!limit || *limit >= 1, "--windows {} must be at least 1", limit.value_or(0));
  index_t scored = 0;
  for (const Window& window : plan.windows) scored += window.scored();
  validate(scored > 0,
           "the text has {} tokens, not one window of {} (protocol {}); use a longer text or a smaller --context",
           tokens, plan.context, to_string(protocol));
  if (limit && *limit < std::ssize(plan.windows)) plan.windows.resize(*limit);
  return plan;
}

WindowPlan slice_of(const WindowPlan& plan, index_t part, index_t parts) {
  HACK_EXPECT(part >= 0 && part < parts);
  const index_t windows = std::ssize(plan.windows);
  validate(parts <= windows, "--slice {}/{}: there are no more than {} windows; use that many slices at most", part + 1,
           parts, windows);
  const index_t begin = windows / parts * part + std::min(part, windows % parts);
  const index_t end = begin + windows / parts + (part < windows % parts ? 1 : 0);
  WindowPlan slice = plan;
  slice.windows.assign(plan.windows.begin() + begin, plan.windows.begin() + end);
  slice.first = plan.first + begin;
  return slice;
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
  const double mean = plan.protocol == Protocol::hack ? weighted / weight : sum / n;
  const double variance = std::max(0.0, squares / n - (sum / n) * (sum / n));
  const double error = scored > 1 ? std::sqrt(variance / (n - 1)) : 0.0;
  return {std::exp(mean), std::exp(mean) * error, sum, scored};
}

}  // namespace hack::model
