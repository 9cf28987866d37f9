#pragma once

#include "kernels/affine.hpp"

namespace hack::kernels {

/// out = silu(gate(x)) * up(x), the first half of a SwiGLU MLP; x (tokens, cols), out (tokens, rows). `scratch`, as
/// large as out, is overwritten. On GPUs and for few tokens one launch multiplies with both matrices, dense or in
/// tiles, and what is written is the product alone.
template <Device D>
void gated_linear(Queue<D>& queue, MatrixView<const float, D> x, const AffineView<D>& gate, const AffineView<D>& up,
                  MatrixView<float, D> out, MatrixView<float, D> scratch);

}  // namespace hack::kernels
