#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// silu(a + its bias) * (b + its bias), of row i; a bias may be null.
HACK_BODY float gated(float a, const float* gate_bias, float b, const float* up_bias, index_t i) {
  if (gate_bias != nullptr) a += gate_bias[i];
  if (up_bias != nullptr) b += up_bias[i];
  return a / (1 + expf(-a)) * b;
}

}  // namespace hack::kernels::cuda
