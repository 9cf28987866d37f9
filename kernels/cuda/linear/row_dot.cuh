#pragma once

#include <cstring>

#include "kernels/cuda/codec/codecs.cuh"

namespace hack::kernels::cuda {

/// Up to this many tokens a matrix is applied by dot products of its rows, bound by the bytes of its weights.
constexpr index_t few_tokens = 8;

/// Numbers of W in a load of 16 bytes.
template <class W>
constexpr int per_load = 16 / static_cast<int>(sizeof(W));

/// Where number l of a vector stands in shared memory: lanes read every eighth, or every fourth, at once, and so meet
/// different banks.
HACK_BODY int spread(int l) { return l + (l >> 3); }
constexpr int spread_size(int n) { return n + (n >> 3) + 1; }

/// Adds numbers [begin, end) of one load; that of number 0 in z is `first`.
template <class W, int T, class Exec, class Z>
HACK_BODY void add_load(Exec& exec, const std::uint32_t (&words)[4], int begin, int end, const Z& z, int first,
                        int stride, int tokens, float (&sums)[T]) {
  HACK_UNROLL
  for (int q = 0; q < per_load<W>; ++q) {
    if (q < begin || q >= end) continue;
    const float weight = CodecOf<W>::widen(exec, code_of<W>(words, q));
    HACK_UNROLL
    for (int t = 0; t < T; ++t) {
      if (t < tokens) sums[t] = fmaf(weight, z[t * stride + spread(first + q)], sums[t]);
    }
  }
}

/// sums[t] += Σ_l w[l] z_t[l], of codes without their row's scale, over the share of one of `lanes` lanes; w (length)
/// anywhere in memory, z_t[l] at z[t * stride + spread(first + l)] in shared memory. Loads of 16 bytes may touch what
/// lies beside w; it is left out.
template <class W, int T, class Exec, class Z>
HACK_BODY void add_row_dot(Exec& exec, const W* w, int length, const Z& z, int first, int stride, int tokens, int lane,
                           int lanes, float (&sums)[T]) {
  constexpr int n = per_load<W>;
  constexpr int in_flight = 4;
  const auto address = reinterpret_cast<std::uintptr_t>(w);
  const int before = static_cast<int>(address % 16 / sizeof(W));  // numbers of the first load that are not w's
  const W* aligned = w - before;
  const int loads = (before + length + n - 1) / n;
  for (int c = lane; c < loads; c += in_flight * lanes) {
    std::uint32_t words[in_flight][4];
    HACK_UNROLL
    for (int u = 0; u < in_flight; ++u) {
      if (c + u * lanes < loads) exec.load16(aligned + static_cast<index_t>(c + u * lanes) * n, words[u]);
    }
    HACK_UNROLL
    for (int u = 0; u < in_flight; ++u) {
      const int start = (c + u * lanes) * n - before;
      if (start >= 0 && start + n <= length) {
        add_load<W, T>(exec, words[u], 0, n, z, first + start, stride, tokens, sums);
      } else if (start < length) {
        add_load<W, T>(exec, words[u], start < 0 ? -start : 0, length - start, z, first + start, stride, tokens, sums);
      }
    }
  }
}

/// Copies columns [first, first + count) of x (tokens, …) to shared memory, as add_row_dot reads them.
template <class Exec, class Z>
HACK_BODY void load_vectors(Exec& exec, const Array<const float>& x, index_t first, int count, int stride, const Z& z) {
  for (index_t t = 0; t < x.rows; ++t) {
    for (int l = exec.thread(); l < count; l += exec.threads()) {
      z[static_cast<int>(t) * stride + spread(l)] = x.row(t)[first + l];
    }
  }
}

}  // namespace hack::kernels::cuda
