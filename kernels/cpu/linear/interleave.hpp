#pragma once

#include <cstdint>

#include "kernels/matrix_view.hpp"

namespace hack::kernels {

/// Numbers behind the end of `marked` and `others` that add_interleaved() may read, and does not use.
constexpr index_t interleave_slack = 8;

/// Adds to each row of y (t, p + q), in the order of its columns, the numbers of `marked` (t, p) where `marks` has a
/// mark and those of `others` (t, q) elsewhere; on the calling thread.
void add_interleaved(MatrixView<const float> marked, MatrixView<const float> others, const std::uint8_t* marks,
                     MatrixView<float> y);

}  // namespace hack::kernels
