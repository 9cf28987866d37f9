#pragma once

#include <cstring>

#include "kernels/cuda/codec/codecs.cuh"

namespace hack::kernels::cuda {

/// Up to this many tokens a matrix is applied by dot products of its rows, bound by the bytes of its weights.
constexpr index_t few_tokens = 8;

/// Numbers of a codec in a load of 16 bytes, or of a run.
template <class W>
constexpr int per_load = has_blocks<W> ? run_length : 16 / static_cast<int>(sizeof(W));

/// Where number l of a vector that is multiplied with codes W stands in shared memory: lanes read every sixteenth,
/// eighth or fourth at once, and so meet different banks.
template <class W>
HACK_BODY int spread(int l) {
  return l + (l >> (per_load<W> == 16 ? 4 : 3));
}
constexpr int spread_size(int n) { return n + (n >> 3) + 1; }

/// Adds numbers [begin, end) of one load or run, the q-th of them weight(q); that of number 0 in z is `first`.
template <class W, int T, class Z, class Weight>
HACK_BODY void add_numbers(int begin, int end, const Z& z, int first, int stride, int tokens, float (&sums)[T],
                           const Weight& weight_of) {
  HACK_UNROLL
  for (int q = 0; q < per_load<W>; ++q) {
    if (q < begin || q >= end) continue;
    const float weight = weight_of(q);
    HACK_UNROLL
    for (int t = 0; t < T; ++t) {
      // Of one token it is known when this is compiled that it is there.
      if (T == 1 || t < tokens) sums[t] = fmaf(weight, z[t * stride + spread<W>(first + q)], sums[t]);
    }
  }
}

/// All numbers of one load or run. Where its vector's numbers begin with a load, too, as they do in tiles whose rank is
/// a multiple of one, these stand side by side, and the address of one is that of all.
template <class W, int T, class Z, class Weight>
HACK_BODY void add_load(const Z& z, int first, int stride, int tokens, float (&sums)[T], const Weight& weight_of) {
  if (first % per_load<W> != 0) {
    add_numbers<W, T>(0, per_load<W>, z, first, stride, tokens, sums, weight_of);
    return;
  }
  const auto numbers = z + spread<W>(first);
  HACK_UNROLL
  for (int q = 0; q < per_load<W>; ++q) {
    const float weight = weight_of(q);
    HACK_UNROLL
    for (int t = 0; t < T; ++t) {
      if (T == 1 || t < tokens) sums[t] = fmaf(weight, numbers[t * stride + q], sums[t]);
    }
  }
}

/// add_row_dot of a codec with blocks: a run for a lane.
template <class W, int T, class Exec, class Z>
HACK_BODY void add_runs(Exec& exec, const RowCodes<W>& w, int length, const Z& z, int first, int stride, int tokens,
                        int lane, int lanes, float (&sums)[T]) {
  using Codec = CodecOf<W>;
  constexpr int n = run_length;
  constexpr int in_flight = 4;
  const int runs = (length + n - 1) / n;
  for (int c = lane; c < runs; c += in_flight * lanes) {
    typename Codec::Run loaded[in_flight];
    HACK_UNROLL
    for (int u = 0; u < in_flight; ++u) {
      if (c + u * lanes < runs) loaded[u] = load_run<W>(exec, w, (c + u * lanes) * n);
    }
    HACK_UNROLL
    for (int u = 0; u < in_flight; ++u) {
      const int start = (c + u * lanes) * n;
      const auto weight = [&](int q) { return Codec::number(exec, loaded[u], q); };
      if (start + n <= length) {
        add_load<W, T>(z, first + start, stride, tokens, sums, weight);
      } else if (start < length) {
        add_numbers<W, T>(0, length - start, z, first + start, stride, tokens, sums, weight);
      }
    }
  }
}

/// sums[t] += Σ_l w[l] z_t[l], of codes without their row's scale, over the share of one of `lanes` lanes; w (length)
/// anywhere in memory, z_t[l] at z[t * stride + spread<W>(first + l)] in shared memory. Loads of 16 bytes may touch
/// what lies beside w; it is left out.
template <class W, int T, class Exec, class Z>
HACK_BODY void add_row_dot(Exec& exec, const RowCodes<W>& w, int length, const Z& z, int first, int stride, int tokens,
                           int lane, int lanes, float (&sums)[T]) {
  if constexpr (has_blocks<W>) {
    add_runs<W, T>(exec, w, length, z, first, stride, tokens, lane, lanes, sums);
  } else {
    constexpr int n = per_load<W>;
    constexpr int in_flight = 4;
    const auto address = reinterpret_cast<std::uintptr_t>(w.codes);
    const int before = static_cast<int>(address % 16 / sizeof(W));  // numbers of the first load that are not w's
    const W* aligned = w.codes - before;
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
        const auto weight = [&](int q) { return CodecOf<W>::widen(exec, code_of<W>(words[u], q)); };
        if (start >= 0 && start + n <= length) {
          add_load<W, T>(z, first + start, stride, tokens, sums, weight);
        } else if (start < length) {
          const int begin = start < 0 ? -start : 0;
          add_numbers<W, T>(begin, length - start, z, first + start, stride, tokens, sums, weight);
        }
      }
    }
  }
}

/// Copies columns [first, first + count) of x (tokens, …) to shared memory, as add_row_dot reads them. Several loads of
/// a thread are on their way before the first of them is waited for.
template <class W, class Exec, class Z>
HACK_BODY void load_vectors(Exec& exec, const Array<const float>& x, index_t first, int count, int stride, const Z& z) {
  constexpr int in_flight = 4;
  HACK_NO_UNROLL
  for (int t = 0; t < static_cast<int>(x.rows); ++t) {
    const float* from = x.row(t) + first;
    HACK_NO_UNROLL
    for (int base = exec.thread(); base < count; base += in_flight * exec.threads()) {
      float loaded[in_flight];
      HACK_UNROLL
      for (int u = 0; u < in_flight; ++u) {
        const int l = base + u * exec.threads();
        loaded[u] = l < count ? from[l] : 0.0f;
      }
      HACK_UNROLL
      for (int u = 0; u < in_flight; ++u) {
        const int l = base + u * exec.threads();
        if (l < count) z[t * stride + spread<W>(l)] = loaded[u];
      }
    }
  }
}

}  // namespace hack::kernels::cuda
