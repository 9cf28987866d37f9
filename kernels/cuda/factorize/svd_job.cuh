#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// One tile A (h, w) = U diag(sigma) Vᵀ, h and w at most JacobiSvd::side, and the places of k vectors of both sides.
struct SvdJob {
  Array<const float> a;
  Array<float> u;  // (h, k)
  float* sigma = nullptr;
  Array<float> vt;  // (k, w)
};

enum class JacobiStatus : int { ok, not_finite, failed };

struct JacobiResult {
  JacobiStatus status;
  int vectors;  ///< how many of the wanted vectors are no null directions
};

}  // namespace hack::kernels::cuda
