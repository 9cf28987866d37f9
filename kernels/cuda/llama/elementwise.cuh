#pragma once

#include "kernels/cuda/codec/codecs.cuh"
#include "kernels/decode_state.hpp"

namespace hack::kernels::cuda {

/// Pieces of rows: what a block of the kernels that go over all numbers of a matrix takes.
struct RowPieces {
  static constexpr int threads = 256;
  static constexpr index_t length = 1024;

  static Geometry geometry(index_t rows, index_t cols) { return {rows * divide_up(cols, length), threads, 0}; }
};

/// Calls visit(row, column) for this thread's numbers of its block's piece.
template <class Exec, class Visit>
HACK_BODY void for_each_in_piece(Exec& exec, index_t cols, Visit visit) {
  const index_t pieces = (cols + RowPieces::length - 1) / RowPieces::length;
  const index_t row = exec.block() / pieces;
  const index_t first = exec.block() % pieces * RowPieces::length;
  const index_t end = first + RowPieces::length < cols ? first + RowPieces::length : cols;
  for (index_t j = first + exec.thread(); j < end; j += exec.threads()) visit(row, j);
}

/// The number itself, read when the kernel runs.
HACK_BODY index_t value_of(const Position<Device::cuda>& position) {
  return position.state != nullptr ? position.state->position : position.first;
}

struct Add {
  static constexpr const char* name = "Add";
  static constexpr int max_threads = RowPieces::threads;
  Array<const float> x;
  Array<float> y;

  Geometry geometry() const { return RowPieces::geometry(y.rows, y.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, y.cols, [&](index_t i, index_t j) { y.row(i)[j] += x.row(i)[j]; });
  }
};

struct AddBias {
  static constexpr const char* name = "AddBias";
  static constexpr int max_threads = RowPieces::threads;
  const float* bias = nullptr;
  Array<float> y;

  Geometry geometry() const { return RowPieces::geometry(y.rows, y.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, y.cols, [&](index_t i, index_t j) { y.row(i)[j] += bias[j]; });
  }
};

struct SwiGlu {
  static constexpr const char* name = "SwiGlu";
  static constexpr int max_threads = RowPieces::threads;
  Array<const float> up;
  Array<float> gate;

  Geometry geometry() const { return RowPieces::geometry(gate.rows, gate.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, gate.cols, [&](index_t i, index_t j) {
      const float a = gate.row(i)[j];
      gate.row(i)[j] = a / (1 + expf(-a)) * up.row(i)[j];
    });
  }
};

/// Rotates a number of the first half of a head and its partner in the second.
template <class Exec>
HACK_BODY void rotate(Exec& exec, float angle, float& low, float& high) {
  float cosine, sine;
  exec.turn(angle, cosine, sine);
  const float a = low, b = high;
  low = a * cosine - b * sine;
  high = b * cosine + a * sine;
}

/// Each number of the first halves and its partner.
struct Rope {
  static constexpr const char* name = "Rope";
  static constexpr int max_threads = RowPieces::threads;
  index_t head_dim = 0;
  Position<Device::cuda> position = 0;
  const float* inverse_frequencies = nullptr;
  Array<float> x;

  Geometry geometry() const { return RowPieces::geometry(x.rows, x.cols / 2); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t half = head_dim / 2, first_position = value_of(position);
    for_each_in_piece(exec, x.cols / 2, [&](index_t t, index_t pair) {
      const index_t i = pair % half;
      float* low = x.row(t) + pair / half * head_dim + i;
      rotate(exec, static_cast<float>(first_position + t) * inverse_frequencies[i], low[0], low[half]);
    });
  }
};

/// Numbers of tokens travel with the launch: so many at once.
struct TokenIds {
  static constexpr index_t most = 512;
  int ids[most];
};

/// One weight.
template <class W, class Exec>
HACK_BODY float weight_of(Exec& exec, const Weights<W>& table, index_t row, index_t j) {
  const RowCodes<W> codes = table.row(row);
  if constexpr (has_blocks<W>) {
    const int number = static_cast<int>(j), start = number / run_length * run_length;
    const auto run = load_run<W>(exec, codes, start);
    float weight = 0;
    HACK_UNROLL
    for (int q = 0; q < run_length; ++q) {
      if (start + q == number) weight = CodecOf<W>::number(exec, run, q);
    }
    return weight;
  } else {
    const float code = CodecOf<W>::widen(exec, codes.codes[j]);
    if constexpr (CodecOf<W>::scales_rows) return table.scale(exec, row) * code;
    return code;
  }
}

template <class W>
struct Embed {
  static constexpr const char* name = "Embed";
  static constexpr int max_threads = RowPieces::threads;
  TokenIds tokens;
  index_t first_id = 0;
  Weights<W> table;
  Array<float> out;

  Geometry geometry() const { return RowPieces::geometry(out.rows, out.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, out.cols, [&](index_t t, index_t j) {
      const index_t row = tokens.ids[t] - first_id;
      out.row(t)[j] = row >= 0 && row < table.rows ? weight_of(exec, table, row, j) : 0.0f;
    });
  }
};

/// The token that a step of decoding is at.
template <class W>
struct EmbedOne {
  static constexpr const char* name = "EmbedOne";
  static constexpr int max_threads = RowPieces::threads;
  const DecodeState* state = nullptr;
  index_t first_id = 0;
  Weights<W> table;
  Array<float> out;

  Geometry geometry() const { return RowPieces::geometry(1, out.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t row = state->id - first_id;
    const bool is_here = row >= 0 && row < table.rows;
    for_each_in_piece(exec, out.cols,
                      [&](index_t, index_t j) { out.data[j] = is_here ? weight_of(exec, table, row, j) : 0.0f; });
  }
};

/// high + low = x to twice the digits of T: what lets a product of narrow numbers take f32. What is too large for T
/// goes into the second part as far as it fits.
template <class T, class Exec>
HACK_BODY void split(Exec& exec, float x, T& high, T& low) {
  if constexpr (std::is_same_v<T, f16>) {
    constexpr float largest = 65504;
    high = exec.template narrow<T>(fminf(fmaxf(x, -largest), largest));
  } else {
    high = exec.template narrow<T>(x);
  }
  low = exec.template narrow<T>(x - exec.widen(high));
}

template <class T>
struct SplitParts {
  static constexpr const char* name = "SplitParts";
  static constexpr int max_threads = RowPieces::threads;
  Array<const float> x;
  Array<T> high;
  Array<T> low;

  Geometry geometry() const { return RowPieces::geometry(x.rows, x.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, x.cols,
                      [&](index_t i, index_t j) { split(exec, x.row(i)[j], high.row(i)[j], low.row(i)[j]); });
  }
};

}  // namespace hack::kernels::cuda

#define HACK_EMBED_KERNELS_OF(X, W) \
  X(Embed<W>)                       \
  X(EmbedOne<W>)
#define HACK_ELEMENTWISE_KERNELS(X)             \
  X(Add)                                        \
  X(AddBias)                                    \
  X(SwiGlu)                                     \
  X(Rope)                                       \
  HACK_FOR_EACH_CODEC(HACK_EMBED_KERNELS_OF, X) \
  X(SplitParts<bf16>)                           \
  X(SplitParts<f16>)
