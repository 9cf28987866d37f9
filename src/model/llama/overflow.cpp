// Where a forward pass stops to give finite numbers.

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/core.h>

#include "comm/collectives.hpp"
#include "model/llama/chunk.hpp"
#include "model/llama/llama.hpp"
#include "model/llama/names.hpp"

namespace hack::model {
namespace {

/// The first row that holds NaN, infinity or what overflows next; none: a number behind all tokens.
template <Device D>
index_t first_bad_row(Queue<D>& queue, MatrixView<const float, D> x) {
  queue.wait();
  std::vector<float> row(static_cast<std::size_t>(x.cols));
  for (index_t t = 0; t < x.rows; ++t) {
    kernels::copy_to_host<D>(row.data(), x.row(t), static_cast<std::size_t>(x.cols) * sizeof(float));
    for (const float value : row) {
      if (!(std::abs(value) <= largest_sound)) return t;
    }
  }
  return std::numeric_limits<int>::max();
}

}  // namespace

template <Device D>
std::string Llama<D>::explain_overflow(std::span<const int> ids) {
  std::string found;
  index_t begin = 0;
  // Ranks hold different parts of what lies between two sums: what one finds counts for all.
  probe_ = [&](const std::string& what, MatrixView<const float, D> x) {
    if (!found.empty()) return;
    const double mine = -static_cast<double>(first_bad_row<D>(queue_, x));
    const auto row = static_cast<index_t>(-comm::all_reduce_max(tensor_, mine));
    if (row < std::numeric_limits<int>::max()) found = fmt::format("{}, at token {}", what, begin + row);
  };
  KvCache<D> cache = make_cache(std::ssize(ids));
  for (; begin < std::ssize(ids) && found.empty(); begin += chunk_tokens) {
    forward(ids.subspan(begin, std::min(chunk_tokens, std::ssize(ids) - begin)), cache);
  }
  probe_ = nullptr;
  if (found.empty()) found = fmt::format("output of {}", head_weights(config_));
  return fmt::format(
      "the model's numbers overflow ({}); its weights or those of its archive are damaged or too large: look at "
      "them, or compress it again",
      found);
}

#define HACK_INSTANTIATE(D) template std::string Llama<D>::explain_overflow(std::span<const int>);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::model
