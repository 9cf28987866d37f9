#pragma once

#include "kernels/dtype.hpp"

namespace hack::model {

/// Tokens of a prompt or window that go through the layers at once: enough for matrix products at full speed, and
/// activations stay small.
inline constexpr index_t chunk_tokens = 512;

}  // namespace hack::model
