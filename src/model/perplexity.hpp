#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "comm/process_grid.hpp"
#include "model/llama.hpp"
#include "model/perplexity_protocol.hpp"

namespace hack::model {

/// Losses of the scored tokens of every window, in window order, on world rank 0 (empty elsewhere). Collective.
///
/// Windows are dealt to the data-parallel copies in turn; a window's losses depend neither on the other windows nor on
/// who computes them, so the result is the same in every bit for every number of copies.
/// first_token: where the protocol says so, replaces each window's first token (llama.cpp's BOS rule).
/// progress(done, all) is called on this rank after each of its windows.
template <Device D>
std::vector<std::vector<float>> window_losses(Llama<D>& llama, const comm::ProcessGrid& grid, std::span<const int> ids,
                                              const WindowPlan& plan, std::optional<int> first_token,
                                              const std::function<void(index_t, index_t)>& progress);

}  // namespace hack::model
