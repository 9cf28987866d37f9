#pragma once

#include "kernels/cuda/llama/elementwise.cuh"

namespace hack::kernels::cuda {

/// What a block adds up: 64 tokens times 64 rows of weights, by multiplications of f32 for f32 weights, else by tensor
/// cores. These take x in two narrow parts, which is as exact as f32 to 2^-18; weights that are widened from codes,
/// too, and leave out the product of the small parts.
template <class W>
struct BlockProduct {
  static constexpr int threads = 128;
  static constexpr int tokens = 64;
  static constexpr int outputs = 64;
  static constexpr int depth = 32;  // of one step
  static constexpr bool is_wide = std::is_same_v<W, float>;
  static constexpr bool splits_weights = std::is_same_v<W, Widened>;
  using Narrow = std::conditional_t<splits_weights, bf16, W>;            // what tensor cores multiply
  static constexpr int row_words = is_wide ? depth + 1 : depth / 2 + 4;  // no two rows of a load share banks
  static constexpr int parts = is_wide ? 1 : 2;                          // of x
  static constexpr int weight_parts = splits_weights ? 2 : 1;
  static constexpr int shared_words = (parts * tokens + weight_parts * outputs) * row_words;

  float sums[32] = {};  // of this thread

  /// sums += Σ_l x(t, l) w(i, l) over l in [0, length); x and w give 0 for tokens and outputs that are not there. Of a
  /// codec with blocks, w(i, l, to) writes a run, of which numbers past the length are multiplied with 0.
  template <class Exec, class X, class Y>
  HACK_BODY void add(Exec& exec, int length, const X& x, const Y& w) {
    for (int first = 0; first < length; first += depth) {
      const int count = length - first < depth ? length - first : depth;
      exec.sync();  // the last step has been read
      if constexpr (is_wide) {
        load_wide(exec, first, count, x, w);
      } else {
        load_narrow(exec, first, count, x, w);
        if constexpr (splits_weights) load_runs(exec, first, count, w);
      }
      exec.sync();
      if constexpr (is_wide) {
        multiply_wide(exec);
      } else {
        multiply_narrow(exec);
      }
    }
  }

  /// Number n of this thread's sums is of this output.
  template <class Exec>
  HACK_BODY static int output_of(Exec& exec, int n) {
    if constexpr (is_wide) {
      return exec.thread() % 16 + n % 4 * 16;
    } else {
      return exec.warp() / 2 * 32 + n / 4 % 4 * 8 + 2 * (exec.lane() % 4) + n % 2;
    }
  }

  /// Calls visit(token, output, sum) for what this thread has.
  template <class Exec, class Visit>
  HACK_BODY void for_each(Exec& exec, const Visit& visit) const {
    HACK_UNROLL
    for (int n = 0; n < 32; ++n) {
      if constexpr (is_wide) {
        visit(exec.thread() / 16 * 8 + n / 4, output_of(exec, n), sums[n]);
      } else {
        const int m_tile = n / 16, r = n % 4;
        visit(exec.warp() % 2 * 32 + m_tile * 16 + exec.lane() / 4 + 8 * (r / 2), output_of(exec, n), sums[n]);
      }
    }
  }

 private:
  template <class Exec, class X, class Y>
  HACK_BODY void load_wide(Exec& exec, int first, int count, const X& x, const Y& w) {
    const auto xs = exec.template shared<float>(0);
    const auto ws = exec.template shared<float>(tokens * row_words);
    for (int n = exec.thread(); n < tokens * depth; n += threads) {
      const int row = n / depth, l = n % depth;
      xs[row * row_words + l] = l < count ? x(row, first + l) : 0.0f;
      ws[row * row_words + l] = l < count ? w(row, first + l) : 0.0f;
    }
  }

  template <class Exec>
  HACK_BODY void multiply_wide(Exec& exec) {
    const auto xs = exec.template shared<float>(exec.thread() / 16 * 8 * row_words);
    const auto ws = exec.template shared<float>((tokens + exec.thread() % 16) * row_words);
    for (int l = 0; l < depth; ++l) {
      float w[4];
      HACK_UNROLL
      for (int b = 0; b < 4; ++b) w[b] = ws[b * 16 * row_words + l];
      HACK_UNROLL
      for (int a = 0; a < 8; ++a) {
        const float value = xs[a * row_words + l];
        HACK_UNROLL
        for (int b = 0; b < 4; ++b) sums[a * 4 + b] = fmaf(value, w[b], sums[a * 4 + b]);
      }
    }
  }

  HACK_BODY static std::uint32_t pair(Narrow low, Narrow high) {
    return static_cast<std::uint32_t>(low.bits) | static_cast<std::uint32_t>(high.bits) << 16;
  }

  template <class Exec, class X, class Y>
  HACK_BODY void load_narrow(Exec& exec, int first, int count, const X& x, const Y& w) {
    const auto highs = exec.template shared<std::uint32_t>(0);
    const auto lows = exec.template shared<std::uint32_t>(tokens * row_words);
    const auto ws = exec.template shared<std::uint32_t>(2 * tokens * row_words);
    for (int n = exec.thread(); n < tokens * (depth / 2); n += threads) {
      const int row = n / (depth / 2), l = n % (depth / 2) * 2;
      Narrow high[2], low[2];
      [[maybe_unused]] Narrow weights[2];
      HACK_UNROLL
      for (int q = 0; q < 2; ++q) {
        const bool is_there = l + q < count;
        split(exec, is_there ? x(row, first + l + q) : 0.0f, high[q], low[q]);
        if constexpr (!splits_weights) weights[q] = is_there ? w(row, first + l + q) : Narrow{0};
      }
      highs[row * row_words + l / 2] = pair(high[0], high[1]);
      lows[row * row_words + l / 2] = pair(low[0], low[1]);
      if constexpr (!splits_weights) ws[row * row_words + l / 2] = pair(weights[0], weights[1]);
    }
  }

  /// Weights widened run by run, in two parts.
  template <class Exec, class Y>
  HACK_BODY void load_runs(Exec& exec, int first, int count, const Y& w) {
    constexpr int runs = depth / run_length;
    const auto highs = exec.template shared<std::uint32_t>(2 * tokens * row_words);
    const auto lows = exec.template shared<std::uint32_t>((2 * tokens + outputs) * row_words);
    for (int n = exec.thread(); n < outputs * runs; n += threads) {
      const int row = n / runs, l = n % runs * run_length;
      float numbers[run_length] = {};
      if (l < count) w(row, first + l, numbers);
      HACK_UNROLL
      for (int q = 0; q < run_length; q += 2) {
        Narrow high[2], low[2];
        split(exec, numbers[q], high[0], low[0]);
        split(exec, numbers[q + 1], high[1], low[1]);
        highs[row * row_words + (l + q) / 2] = pair(high[0], high[1]);
        lows[row * row_words + (l + q) / 2] = pair(low[0], low[1]);
      }
    }
  }

  template <class Exec>
  HACK_BODY void multiply_narrow(Exec& exec) {
    HACK_UNROLL
    for (int k = 0; k < depth / 2; k += 8) {
      HACK_UNROLL
      for (int weight_part = 0; weight_part < weight_parts; ++weight_part) multiply_step(exec, k, weight_part);
    }
  }

  /// Words k to k + 7 of all rows: one part of the weights, and of x what is large enough to count beside it.
  template <class Exec>
  HACK_BODY void multiply_step(Exec& exec, int k, int weight_part) {
    const int g = exec.lane() / 4, t = exec.lane() % 4;
    const auto ws = exec.template shared<std::uint32_t>((2 * tokens + weight_part * outputs) * row_words);
    std::uint32_t b[4][2];
    HACK_UNROLL
    for (int n_tile = 0; n_tile < 4; ++n_tile) {
      const int row = exec.warp() / 2 * 32 + n_tile * 8 + g;
      HACK_UNROLL
      for (int r = 0; r < 2; ++r) b[n_tile][r] = ws[row * row_words + k + t + 4 * r];
    }
    HACK_UNROLL
    for (int part = 0; part < 2 - weight_part; ++part) {
      const auto xs = exec.template shared<std::uint32_t>(part * tokens * row_words);
      HACK_UNROLL
      for (int m_tile = 0; m_tile < 2; ++m_tile) {
        const int row = exec.warp() % 2 * 32 + m_tile * 16 + g;
        std::uint32_t a[4];
        HACK_UNROLL
        for (int r = 0; r < 4; ++r) a[r] = xs[(row + 8 * (r % 2)) * row_words + k + t + 4 * (r / 2)];
        HACK_UNROLL
        for (int n_tile = 0; n_tile < 4; ++n_tile) multiply_fragment(exec, a, b[n_tile], m_tile * 16 + n_tile * 4);
      }
    }
  }

  template <class Exec>
  HACK_BODY void multiply_fragment(Exec& exec, const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], int at) {
    float part[4];
    HACK_UNROLL
    for (int r = 0; r < 4; ++r) part[r] = sums[at + r];
    exec.template mma<Narrow>(a, b, part);
    HACK_UNROLL
    for (int r = 0; r < 4; ++r) sums[at + r] = part[r];
  }
};

/// Sums of products whose outputs have scales of their own.
template <class W>
struct ScaledSums {
  float sums[32] = {};  // of this thread, as those of a BlockProduct

  /// Adds a product's sums, times scale(output), and clears them.
  template <class Exec, class Scale>
  HACK_BODY void take(Exec& exec, BlockProduct<W>& product, const Scale& scale) {
    HACK_UNROLL
    for (int n = 0; n < 32; ++n) {
      sums[n] = fmaf(scale(BlockProduct<W>::output_of(exec, n)), product.sums[n], sums[n]);
      product.sums[n] = 0;
    }
  }

  HACK_BODY void give_back(BlockProduct<W>& product) const {
    HACK_UNROLL
    for (int n = 0; n < 32; ++n) product.sums[n] = sums[n];
  }
};

}  // namespace hack::kernels::cuda
