#pragma once

#include <concepts>

#include "kernels/device.hpp"
#include "kernels/dtype.hpp"

namespace hack {

/// What a step of decoding knows of itself, in the memory of the device that takes it. Operations that find it there
/// need no argument that changes from step to step: a sequence of them can be captured once and replayed.
struct DecodeState {
  index_t position = 0;  ///< of the token `id` in the sequence
  double draw = 0;       ///< of a uniform distribution over [0, 1), for the next choice
  int id = 0;            ///< the last token
};

/// Where in a sequence the first row of an operation stands: a number, or, for a single row, what a state in memory of
/// D says when the operation is done.
template <Device D>
struct Position {
  Position(std::integral auto number) : first(number) {}
  Position(const DecodeState* in_memory) : state(in_memory) {}

  index_t first = 0;
  const DecodeState* state = nullptr;  ///< null: `first` counts
};

/// The number itself; on the device whose memory has it.
inline index_t value_of(const Position<Device::cpu>& position) {
  return position.state != nullptr ? position.state->position : position.first;
}

}  // namespace hack
