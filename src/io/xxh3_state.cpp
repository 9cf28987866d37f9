#include "io/xxh3_state.hpp"

#include HACK_XXHASH_HEADER

#include <new>

namespace hack::io {

void FreeXxh3State::operator()(XXH3_state_s* state) const noexcept { XXH3_freeState(state); }

Xxh3State make_xxh3_state() {
  Xxh3State state(XXH3_createState());
  if (state == nullptr) throw std::bad_alloc();
  return state;
}

}  // namespace hack::io
