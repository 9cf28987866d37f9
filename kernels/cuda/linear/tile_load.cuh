#pragma once

#include "kernels/cuda/linear/factored_plan.cuh"
#include "kernels/cuda/linear/row_stream.cuh"

namespace hack::kernels::cuda {

/// A matrix in tiles, and where the sums of its runs are.
template <class W>
struct TileSide {
  TileRuns runs;
  const std::uint32_t* skeleton = nullptr;
  Factors<W> u;
  Factors<W> v;
  const float* scale = nullptr;
  const float* bias = nullptr;
  float* sums = nullptr;  // (runs of a tile row, tokens, rows)
};

/// One load of a row's codes and what it takes to make numbers of them. Rows of plain numbers begin at 16 bytes if they
/// are Aligned, else anywhere.
template <class W, bool Aligned>
struct TileLoad {
  static constexpr int n = per_load<W>;
  using Load = typename RowCursor<W>::Load;
  static_assert(Aligned || !has_blocks<W>);

  /// `part`: of a block, its run; of rows that begin anywhere, how many numbers are wanted, at least one of which is
  /// there: no 16 bytes are read that have none of these.
  template <class Exec>
  HACK_BODY static Load take(Exec& exec, const std::byte* codes, const std::byte* scales, int part) {
    if constexpr (has_blocks<W>) {
      return CodecOf<W>::load(exec, *reinterpret_cast<const W*>(codes), scales, part);
    } else if constexpr (Aligned) {
      Load load;
      exec.load16(codes, load.words);
      return load;
    } else {
      const int before = static_cast<int>(reinterpret_cast<std::uintptr_t>(codes) % 16);
      const std::byte* low = codes - before;
      const bool goes_on = before + part * static_cast<int>(sizeof(W)) > 16;
      std::uint32_t words[8];
      load_words(exec, low, words);
      load_words(exec, goes_on ? low + 16 : low, words + 4);
      return first_of(shifted(words, before), part);
    }
  }

  /// The same, or, where there is no such row, zeros; what is there is read all the same if that takes no branch.
  template <class Exec>
  HACK_BODY static Load take_if(Exec& exec, bool is_there, const std::byte* codes, const std::byte* scales, int part) {
    Load load{};
    if constexpr (Aligned && !has_blocks<W>) {
      if (is_there) exec.load16(codes, load.words);
    } else {
      load = take(exec, codes, scales, part);
      if constexpr (requires { load.minimum; }) {
        load.d = is_there ? load.d : 0.0f;
        load.minimum = is_there ? load.minimum : 0.0f;
      } else if constexpr (requires { load.scale; }) {
        load.scale = is_there ? load.scale : 0.0f;
      } else {
        HACK_UNROLL
        for (int i = 0; i < 4; ++i) load.words[i] = is_there ? load.words[i] : 0u;
      }
    }
    return load;
  }

  template <class Exec>
  HACK_BODY static float number(Exec& exec, const Load& load, int q) {
    return RowCursor<W>::number(exec, load, q);
  }

 private:
  template <class Exec>
  HACK_BODY static void load_words(Exec& exec, const std::byte* from, std::uint32_t* to) {
    std::uint32_t words[4];
    exec.load16(from, words);
    HACK_UNROLL
    for (int i = 0; i < 4; ++i) to[i] = words[i];
  }

  /// Zeros behind the first `count` numbers: what lies beside a row may be no number.
  HACK_BODY static Load first_of(Load load, int count) {
    HACK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int bits = 8 * static_cast<int>(sizeof(W)) * count - 32 * i;
      load.words[i] &= bits >= 32 ? ~0u : bits <= 0 ? 0u : (1u << bits) - 1;
    }
    return load;
  }

  /// 16 bytes of 32, from byte `first` < 16 on: whole words by choices of two, then bytes.
  HACK_BODY static Load shifted(const std::uint32_t (&words)[8], int first) {
    std::uint32_t six[6], five[5];
    HACK_UNROLL
    for (int i = 0; i < 6; ++i) six[i] = (first & 8) != 0 ? words[i + 2] : words[i];
    HACK_UNROLL
    for (int i = 0; i < 5; ++i) five[i] = (first & 4) != 0 ? six[i + 1] : six[i];
    Load load;
    HACK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const std::uint64_t two = static_cast<std::uint64_t>(five[i + 1]) << 32 | five[i];
      load.words[i] = static_cast<std::uint32_t>(two >> (8 * (first & 3)));
    }
    return load;
  }
};

/// Vectors in shared memory for lanes that take as many of their numbers at once as a load has, eight lanes side by
/// side: fours of numbers that one lane takes lie in different planes (as VectorPlanes).
template <class W, int Numbers>
struct LoadPlanes {
  static constexpr int n = per_load<W>;
  static constexpr int fours = n / 4;
  static constexpr int plane = Numbers / fours + (fours > 1 ? 4 : 0);
  static constexpr int vector = fours * plane;

  HACK_BODY static int at(int t, unsigned l) {  // unsigned: its address is few instructions
    return t * vector + static_cast<int>(l % n / 4 * plane + l / n * 4 + l % 4);
  }
};

/// sums[r][t] += the products of Rows rows' loads with the numbers of T vectors that begin at `numbers`, in the order
/// of the columns.
template <class W, bool Aligned, class Planes, int Rows, int T, class Exec, class Numbers>
HACK_BODY void multiply_loads(Exec& exec, const typename TileLoad<W, Aligned>::Load (&loads)[Rows],
                              const Numbers& numbers, float (&sums)[Rows][T]) {
  HACK_UNROLL
  for (int four = 0; four < Planes::fours; ++four) {
    float weights[Rows][4];
    HACK_UNROLL
    for (int r = 0; r < Rows; ++r) {
      HACK_UNROLL
      for (int q = 0; q < 4; ++q) weights[r][q] = TileLoad<W, Aligned>::number(exec, loads[r], 4 * four + q);
    }
    HACK_UNROLL
    for (int t = 0; t < T; ++t) {
      float x[4];
      exec.read16(numbers, t * Planes::vector + four * Planes::plane, x);
      HACK_UNROLL
      for (int q = 0; q < 4; ++q) {
        HACK_UNROLL
        for (int r = 0; r < Rows; ++r) sums[r][t] = fmaf(weights[r][q], x[q], sums[r][t]);
      }
    }
  }
}

}  // namespace hack::kernels::cuda
