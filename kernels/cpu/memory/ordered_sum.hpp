#pragma once

#include <span>

#include "kernels/dtype.hpp"

namespace hack::kernels {

/// Sums of vectors that other processes may look at, on the calling thread.

/// Copies n numbers past the caches into memory; `to` starts a cache line. Another core may read `to` once it knows of
/// a release after flush_copies().
void copy_past_caches(const float* from, index_t n, float* to);
/// Orders what went past the caches before the stores that follow.
void flush_copies();

/// What becomes of a sum in its place.
enum class Sum { replaces, adds };

/// s = ((from[0] + from[1]) + from[2]) + …, number by number; out = s or out += s. from[r] may be out. All (n).
void sum_in_order(std::span<const float* const> from, index_t n, Sum what, float* out);

}  // namespace hack::kernels
