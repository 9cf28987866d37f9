#include "model/evaluate/base_comparison.hpp"

#include <algorithm>
#include <cstring>

#include "comm/collectives.hpp"
#include "kernels/affine.hpp"
#include "kernels/error.hpp"

namespace hack::model {
namespace {

/// Tokens whose logits are in memory at once.
constexpr index_t logit_block = 128;

/// Calls visit(first, logits) for blocks of states, `logits` this rank's (tokens, own vocabulary) in host memory.
/// Blocks are of nearly equal size: products of few tokens may go another way than those of many.
template <Device D, class Visit>
void visit_logits(Llama<D>& llama, MatrixView<const float, D> states, Visit visit) {
  const index_t own = llama.plan().vocabulary.size();
  const index_t blocks = (states.rows + logit_block - 1) / logit_block;
  const index_t largest = (states.rows + blocks - 1) / blocks;
  Buffer<float, D> part(std::max<index_t>(largest * own, 1));
  std::vector<float> host(static_cast<std::size_t>(largest * own));
  for (index_t b = 0; b < blocks; ++b) {
    const index_t begin = states.rows * b / blocks, n = states.rows * (b + 1) / blocks - begin;
    if (own > 0) {
      kernels::affine(llama.queue(), states.rows_from(begin, n), llama.head(),
                      MatrixView<float, D>(part.data(), n, own));
      llama.queue().wait();
      kernels::copy_to_host<D>(host.data(), part.data(), static_cast<std::size_t>(n * own) * sizeof(float));
    }
    visit(begin, MatrixView<const float>(host.data(), n, own));
  }
}

/// Joins the parts that the ranks of a copy have of some tokens.
std::vector<PartialLogits> joined(const comm::Communicator& tensor, const std::vector<PartialLogits>& mine) {
  const std::vector<PartialLogits> all = comm::all_gather<PartialLogits>(tensor, mine);
  std::vector<PartialLogits> whole(mine.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    PartialLogits& token = whole[i % whole.size()];
    token = join(token, all[i]);
  }
  return whole;
}

/// Parts of some tokens' logits, the whole vocabulary's. `base_row`(token) is what they are compared with.
template <Device D, class BaseOf>
std::vector<PartialLogits> whole_parts(Llama<D>& llama, MatrixView<const float> logits, std::span<const int> targets,
                                       BaseOf base_row) {
  std::vector<PartialLogits> parts(static_cast<std::size_t>(logits.rows));
#pragma omp parallel for schedule(static) num_threads(llama.queue().threads())
  for (index_t t = 0; t < logits.rows; ++t) {
    const std::span<const float> row(logits.row(t), static_cast<std::size_t>(logits.cols));
    parts[t] = part_of(row, llama.plan().vocabulary.begin, targets[t], base_row(t));
  }
  return joined(llama.tensor(), parts);
}

/// Codes of the whole vocabulary (tokens, vocabulary) on the copy's first rank.
std::vector<std::uint16_t> gather_codes(const comm::Communicator& tensor, svd::Range own, index_t tokens,
                                        std::span<const std::uint16_t> mine) {
  const std::vector<index_t> widths = comm::gather<index_t>(tensor, std::vector<index_t>{own.size()});
  const std::vector<std::uint16_t> all = comm::gather<std::uint16_t>(tensor, mine);
  std::vector<std::uint16_t> codes(all.size());
  index_t vocabulary = 0, from = 0, before = 0;
  for (const index_t width : widths) vocabulary += width;
  for (const index_t width : widths) {
    for (index_t t = 0; t < tokens; ++t, from += width) {
      std::copy_n(all.begin() + from, width, codes.begin() + t * vocabulary + before);
    }
    before += width;
  }
  return codes;
}

}  // namespace

template <Device D>
void keep_comparison(Llama<D>& llama, const BaseLogitsFile& base, index_t first, const ScoredTokens<D>& tokens,
                     std::vector<float>& kept) {
  HACK_EXPECT(base.vocabulary() == llama.config().vocab_size);
  visit_logits(llama, tokens.states, [&](index_t begin, MatrixView<const float> logits) {
    const auto targets = tokens.targets.subspan(static_cast<std::size_t>(begin));
    const auto base_row = [&](index_t t) { return base.row(first + tokens.window, tokens.first + begin + t); };
    const std::vector<PartialLogits> whole = whole_parts(llama, logits, targets, base_row);
    for (index_t t = 0; t < logits.rows; ++t) {
      const float base_loss = -base_row(t).log_probability(targets[t]);
      const float same_top = has_same_top(whole[t]) ? 1 : 0;
      kept.insert(kept.end(), {loss_of(whole[t]), base_loss, divergence_of(whole[t]), same_top});
    }
  });
}

template <Device D>
void keep_base_rows(Llama<D>& llama, const ScoredTokens<D>& tokens, std::vector<float>& kept) {
  const index_t vocabulary = llama.config().vocab_size, floats = base_row_floats(vocabulary);
  const svd::Range own = llama.plan().vocabulary;
  const bool keeps = llama.tensor().is_root();
  visit_logits(llama, tokens.states, [&](index_t begin, MatrixView<const float> logits) {
    const auto targets = tokens.targets.subspan(static_cast<std::size_t>(begin));
    const std::vector<PartialLogits> whole = whole_parts(llama, logits, targets, [](index_t) { return BaseRow(); });
    std::vector<std::uint16_t> mine(static_cast<std::size_t>(logits.rows * own.size()));
#pragma omp parallel for schedule(static) num_threads(llama.queue().threads())
    for (index_t t = 0; t < logits.rows; ++t) {
      const auto width = static_cast<std::size_t>(own.size());
      encode(whole[t], {logits.row(t), width}, std::span(mine).subspan(static_cast<std::size_t>(t) * width, width));
    }
    const std::vector<std::uint16_t> codes = gather_codes(llama.tensor(), own, logits.rows, mine);
    if (!keeps) return;
    for (index_t t = 0; t < logits.rows; ++t) {
      const BaseRow row = row_of(whole[t]);
      const std::size_t place = kept.size();
      kept.resize(place + 1 + static_cast<std::size_t>(floats));
      const float numbers[] = {loss_of(whole[t]), row.scale, row.minimum};
      std::memcpy(kept.data() + place, numbers, sizeof(numbers));
      std::memcpy(kept.data() + place + 3, codes.data() + t * vocabulary,
                  static_cast<std::size_t>(vocabulary) * sizeof(std::uint16_t));
    }
  });
}

std::vector<float> take_base_rows(std::vector<float>& kept, index_t vocabulary) {
  const auto floats = static_cast<std::size_t>(base_row_floats(vocabulary));
  const std::size_t tokens = kept.size() / (1 + floats);
  HACK_EXPECT(kept.size() == tokens * (1 + floats));
  std::vector<float> rows(tokens * floats);
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* token = kept.data() + t * (1 + floats);
    std::memcpy(rows.data() + t * floats, token + 1, floats * sizeof(float));
    kept[t] = *token;
  }
  kept.resize(tokens);
  kept.shrink_to_fit();
  return rows;
}

ComparedWindows compared_windows(const WindowLosses& numbers) {
  ComparedWindows out;
  WindowLosses base;
  TokenDivergences tokens;
  for (const std::vector<float>& window : numbers) {
    std::vector<float>& losses = out.losses.emplace_back();
    std::vector<float>& base_losses = base.emplace_back();
    for (std::size_t i = 0; i + comparison_numbers <= window.size(); i += comparison_numbers) {
      losses.push_back(window[i]);
      base_losses.push_back(window[i + 1]);
      tokens.add(window[i + 2], window[i + 3] > 0);
    }
  }
  out.divergence = tokens.summary(base, out.losses);
  return out;
}

#define HACK_INSTANTIATE(D)                                                                        \
  template void keep_comparison(Llama<D>&, const BaseLogitsFile&, index_t, const ScoredTokens<D>&, \
                                std::vector<float>&);                                              \
  template void keep_base_rows(Llama<D>&, const ScoredTokens<D>&, std::vector<float>&);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::model
