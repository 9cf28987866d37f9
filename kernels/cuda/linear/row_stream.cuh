#pragma once

#include "kernels/cuda/linear/row_dot.cuh"

namespace hack::kernels::cuda {

/// Up to T vectors in shared memory, Panel numbers of each at a time, for lanes that take as many of them at once as a
/// load of 16 bytes has weights: each by reads of 16 bytes. Fours of numbers that one lane takes lie in different
/// planes, so that the lanes of a warp read 16 bytes side by side; planes begin at different banks, so that the warps
/// that write them do, too.
template <class W, int T, int Panel>
struct VectorPlanes {
  static constexpr int n = per_load<W>;
  static constexpr int fours = n / 4;
  static constexpr int plane = Panel / fours + (fours > 1 ? 32 / fours : 0);
  static constexpr int vector = fours * plane;
  static constexpr int words = T * vector;
  static_assert(Panel % (32 * n) == 0);

  /// Where number l of vector t stands.
  HACK_BODY static int at(int t, unsigned l) {
    return t * vector + static_cast<int>(l % n / 4 * plane + l / n * 4 + l % 4);
  }

  /// Copies columns [first, first + count) of x (tokens, …) there, a multiple of four, from rows that begin at 16
  /// bytes. All loads of a thread are on their way before the first of them is waited for.
  template <class Exec, class Z>
  HACK_BODY static void load(Exec& exec, const Array<const float>& x, int first, int count, const Z& z) {
    constexpr int in_flight = n == 16 ? 2 : 4;  // as registers allow
    const int step = 4 * exec.threads(), tokens = static_cast<int>(x.rows);
    HACK_NO_UNROLL
    for (int t = 0; t < tokens; ++t) {
      const float* from = x.row(t) + first;
      HACK_NO_UNROLL
      for (int base = 4 * exec.thread(); base < count; base += in_flight * step) {
        float loaded[in_flight][4];
        HACK_UNROLL
        for (int u = 0; u < in_flight; ++u) {
          const auto l = static_cast<unsigned>(base + u * step);  // unsigned: its address is one instruction
          if (base + u * step < count) exec.load_floats(from + l, loaded[u]);
        }
        HACK_UNROLL
        for (int u = 0; u < in_flight; ++u) {
          if (base + u * step < count) exec.write16(z, at(t, static_cast<unsigned>(base + u * step)), loaded[u]);
        }
      }
    }
  }
};

/// Where a lane stands in a row that begins at 16 bytes: at a load of 16 bytes, or at a run of a block.
template <class W>
struct RowCursor {
  using Codec = CodecOf<W>;
  struct Load {
    std::uint32_t words[4];
  };
  const W* codes = nullptr;

  RowCursor() = default;
  /// At the lane's first load of a row.
  HACK_BODY RowCursor(const RowCodes<W>& row, int lane) : codes(row.codes + lane * per_load<W>) {}

  /// The warp's u-th load from here.
  template <class Exec>
  HACK_BODY Load take(Exec& exec, int u) const {
    Load load;
    exec.load16(codes + u * 32 * per_load<W>, load.words);
    return load;
  }
  HACK_BODY void advance(int loads) { codes += loads * 32 * per_load<W>; }

  template <class Exec>
  HACK_BODY static float number(Exec& exec, const Load& load, int q) {
    if constexpr (std::is_same_v<W, std::int8_t>) return float_of_signed_byte(load.words, q);
    return Codec::widen(exec, code_of<W>(load.words, q));
  }
};

template <class W>
requires has_blocks<W>
struct RowCursor<W> {
  using Codec = CodecOf<W>;
  using Load = typename Codec::Run;
  static constexpr int blocks = 32 * run_length / Codec::block;  // of a warp's load
  static_assert(32 * run_length % Codec::block == 0);
  const W* codes = nullptr;
  const std::byte* scales = nullptr;
  int part = 0;  // of its block that the lane takes, the same one in all of its blocks

  RowCursor() = default;
  HACK_BODY RowCursor(const RowCodes<W>& row, int lane)
      : codes(row.codes + lane * run_length / Codec::block),
        scales(row.scales + lane * run_length / Codec::block * Codec::bytes_of_scales),
        part(lane * run_length % Codec::block / run_length) {}

  template <class Exec>
  HACK_BODY Load take(Exec& exec, int u) const {
    return Codec::load(exec, codes[u * blocks], scales + u * blocks * Codec::bytes_of_scales, part);
  }
  HACK_BODY void advance(int loads) {
    codes += loads * blocks;
    scales += loads * blocks * Codec::bytes_of_scales;
  }

  template <class Exec>
  HACK_BODY static float number(Exec& exec, const Load& load, int q) {
    return Codec::number(exec, load, q);
  }
};

/// Blocks of one token that a multiprocessor's registers are shared out to: codes of five bits and levels take most to
/// widen.
template <class W>
constexpr int blocks_of_stream = per_load<W> != 16                                                                 ? 4
                                 : spec_of(CodecOf<W>::codec).code_bits == 5 || CodecOf<W>::codec == Codec::iq4_nl ? 2
                                                                                                                   : 3;

/// A warp's share of products of few tokens: Rows rows of weights are streamed through its registers and multiplied
/// with T vectors, of which each number is read once for all rows.
///
/// A lane takes every 32nd load of a row and adds in the order of the columns, whatever T and Rows: the bits of a
/// token's result do not depend on how many tokens stand beside it, nor on where its row stands.
///
/// Instructions for a warp's load of 16 bytes a lane, which tests/sass counts: n widenings, n T multiply-adds, n T /
/// (4 Rows) reads of shared memory, the load, and what the loop adds, once for Rows · in_flight loads. Bytes in flight
/// of a warp: Rows · in_flight · 512.
template <class W, int T, int Rows>
struct RowStream {
  static constexpr int panel = T == 1 ? 4096 : 2048;  // columns of the vectors that are in shared memory at once
  using Planes = VectorPlanes<W, T, panel>;
  using Cursor = RowCursor<W>;
  static constexpr int n = per_load<W>;
  static constexpr int in_flight = T == 1 ? 4 / Rows : 2;
  static constexpr int columns_of_turn = 32 * in_flight * n;
  static constexpr int bytes_in_flight =  // of weights, of a warp; lanes may share a load
      Rows * columns_of_turn * static_cast<int>(spec_of(CodecOf<W>::codec).code_bits) / 8;
  static constexpr bool has_scales = has_blocks<W>;  // which it loads beside codes
  static_assert(panel % columns_of_turn == 0);

  Cursor rows[Rows];
  float sums[Rows][T] = {};

  /// Whether x (tokens, cols) and rows of w can be streamed: both begin at 16 bytes and are whole loads. Those of every
  /// model are.
  static bool takes(const Array<const float>& x, const Weights<W>& w) {
    const auto is_aligned = [](const void* data, index_t row_bytes) {
      return (reinterpret_cast<std::uintptr_t>(data) | static_cast<std::uintptr_t>(row_bytes)) % 16 == 0;
    };
    const bool has_aligned_rows = has_blocks<W> || is_aligned(w.data, w.ld * static_cast<index_t>(sizeof(W)));
    return x.cols % n == 0 && has_aligned_rows && is_aligned(x.data, x.rows > 1 ? x.ld * 4 : 0);
  }

  /// Adds the products with all columns of x. All threads of the block take part; warps without rows only copy.
  template <class Exec>
  HACK_BODY void run(Exec& exec, const Array<const float>& x, bool has_rows) {
    const auto z = exec.template shared<float>(0);
    const int cols = static_cast<int>(x.cols);
    Turn turn;  // one for all, so that its registers are
    HACK_NO_UNROLL
    for (int first = 0; first < cols; first += panel) {
      const int count = cols - first < panel ? cols - first : panel;
      const int turns = has_rows ? count / columns_of_turn : 0;
      if (turns > 0) take(exec, turn);  // on its way while the vectors are copied
      if (first > 0) exec.sync();       // the last panel has been read
      Planes::load(exec, x, first, count, z);
      exec.sync();
      auto numbers = z + 4 * exec.lane();
      HACK_NO_UNROLL
      for (int i = turns; i > 1; --i) {
        multiply(exec, turn, numbers);
        numbers = numbers + 128 * in_flight;
        take(exec, turn);
      }
      if (turns > 0) {
        multiply(exec, turn, numbers);
        numbers = numbers + 128 * in_flight;
      }
      if (has_rows && turns * columns_of_turn < count)
        add_rest(exec, turn, (count - turns * columns_of_turn) / n, numbers);
    }
  }

 private:
  struct Turn {
    typename Cursor::Load loads[Rows][in_flight];
  };

  /// Requests the loads of a turn.
  template <class Exec>
  HACK_BODY void take(Exec& exec, Turn& turn) {
    HACK_UNROLL
    for (int r = 0; r < Rows; ++r) {
      HACK_UNROLL
      for (int u = 0; u < in_flight; ++u) turn.loads[r][u] = rows[r].take(exec, u);
      rows[r].advance(in_flight);
    }
  }

  template <class Exec, class Z>
  HACK_BODY void multiply(Exec& exec, const Turn& turn, const Z& numbers) {
    HACK_UNROLL
    for (int u = 0; u < in_flight; ++u) multiply_loads(exec, turn, u, numbers);
  }

  /// The u-th load of all rows; the lane's numbers of the vectors stand from number 128 u of each plane on.
  template <class Exec, class Z>
  HACK_BODY void multiply_loads(Exec& exec, const Turn& turn, int u, const Z& numbers) {
    HACK_UNROLL
    for (int four = 0; four < n / 4; ++four) {
      float weights[Rows][4];
      HACK_UNROLL
      for (int r = 0; r < Rows; ++r) {
        HACK_UNROLL
        for (int q = 0; q < 4; ++q) weights[r][q] = Cursor::number(exec, turn.loads[r][u], 4 * four + q);
      }
      HACK_UNROLL
      for (int t = 0; t < T; ++t) {
        float x[4];
        exec.read16(numbers, t * Planes::vector + four * Planes::plane + 128 * u, x);
        HACK_UNROLL
        for (int r = 0; r < Rows; ++r) {
          HACK_UNROLL
          for (int q = 0; q < 4; ++q) sums[r][t] = fmaf(weights[r][q], x[q], sums[r][t]);
        }
      }
    }
  }

  /// What full turns leave: fewer loads of the rows than a turn has.
  template <class Exec, class Z>
  HACK_BODY void add_rest(Exec& exec, Turn& turn, int loads, const Z& numbers) {
    HACK_UNROLL
    for (int u = 0; u < in_flight; ++u) {
      HACK_UNROLL
      for (int r = 0; r < Rows; ++r) {
        if (32 * u + exec.lane() < loads) turn.loads[r][u] = rows[r].take(exec, u);
      }
    }
    HACK_UNROLL
    for (int u = 0; u < in_flight; ++u) {
      if (32 * u + exec.lane() < loads) multiply_loads(exec, turn, u, numbers);
    }
  }
};

}  // namespace hack::kernels::cuda
