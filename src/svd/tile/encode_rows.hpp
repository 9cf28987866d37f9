#pragma once

#include <cstddef>
#include <span>

#include "kernels/codec.hpp"
#include "kernels/matrix_view.hpp"

namespace hack::svd {

/// Writes rows x (rows, cols) in a codec: codes (rows of code_bytes) and scales (rows of scale_bytes). Where the codec
/// leaves a choice, errors e of a row cost Σ_c weights_c e_c². Both are aligned as memory of their own. What x may
/// hold: see `fits`. Does not throw.
void encode_rows(Codec codec, MatrixView<const float> x, std::span<const double> weights, std::byte* codes,
                 std::byte* scales);

/// Whether every number of x is finite and stays so in the codec.
bool fits(MatrixView<const float> x, Codec codec);

}  // namespace hack::svd
