#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "kernels/finite.hpp"
#include "model/llama/llama.hpp"

namespace hack::model {

/// In place of an id where the model's numbers overflow.
inline constexpr int no_choice = -1;

/// choose() on rank 0, where the logits (vocabulary) are; `no_choice` where numbers of the model's last pass overflow,
/// and on other ranks.
template <Device D, class Choose>
int choose_on_root(const Llama<D>& llama, std::span<const float> logits, Choose choose) {
  const bool is_sound = llama.stream_is_sound() && are_finite(logits);
  return llama.tensor().is_root() && is_sound ? choose() : no_choice;
}

/// Puts rank 0's choices on all ranks. An Error where one is `no_choice`: it says where numbers overflow when `ids` are
/// read.
template <Device D>
void share_choices(Llama<D>& llama, std::vector<int>& chosen, std::span<const int> ids) {
  comm::broadcast(llama.tensor(), chosen);
  if (std::find(chosen.begin(), chosen.end(), no_choice) != chosen.end()) fail("{}", llama.explain_overflow(ids));
}

}  // namespace hack::model
