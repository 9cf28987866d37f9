#pragma once

#include <memory>

struct XXH3_state_s;

namespace hack::io {

struct FreeXxh3State {
  void operator()(XXH3_state_s* state) const noexcept;
};

/// What xxHash keeps between two pieces of a stream: 576 bytes, aligned as the library wants them.
using Xxh3State = std::unique_ptr<XXH3_state_s, FreeXxh3State>;

/// A state that is to be reset before its first use.
Xxh3State make_xxh3_state();

}  // namespace hack::io
