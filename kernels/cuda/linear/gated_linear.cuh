#pragma once

#include "kernels/cuda/linear/factored_linear.cuh"
#include "kernels/cuda/linear/row_stream.cuh"

namespace hack::kernels::cuda {

/// silu(a + its bias) * (b + its bias), of row i; a bias may be null.
HACK_BODY float gated(float a, const float* gate_bias, float b, const float* up_bias, index_t i) {
  if (gate_bias != nullptr) a += gate_bias[i];
  if (up_bias != nullptr) b += up_bias[i];
  return a / (1 + expf(-a)) * b;
}

/// One of the two matrices in tiles, and where its vector in rank space is.
template <class W>
struct GatedSide {
  FactoredPlanLists w;
  Factors<W> u;
  Factors<W> v;
  const float* scale = nullptr;
  const float* bias = nullptr;
  Array<float> z;                              // (tokens, rank space)
  const ExpansionShare* expansions = nullptr;  // the U phase's shares, split where rows are few
  index_t expansion_count = 0;
  Array<float> sums;  // (splits · tokens, rows) of theirs

  HACK_BODY Array<const float> projected() const { return {z.data, z.rows, z.cols, z.ld}; }
};

/// V phases of both matrices: the shares of gate, then those of up, split by split.
template <class W, int T>
struct ProjectPair {
  static constexpr const char* name = "ProjectPair";
  using Rows = ProjectRows<W, T>;
  static constexpr int max_threads = Rows::threads;
  GatedSide<W> gate;  // z (splits · tokens, rank space)
  GatedSide<W> up;
  Array<const float> x;
  index_t splits = 1;

  Geometry geometry() const {
    return {splits * (gate.w.projection_count + up.w.projection_count), max_threads, Rows::shared_words};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t shares = gate.w.projection_count + up.w.projection_count;
    const index_t split = exec.block() / shares, share = exec.block() % shares;
    const bool is_gate = share < gate.w.projection_count;
    const GatedSide<W>& side = is_gate ? gate : up;
    const ProjectionShare part = side.w.projections[is_gate ? share : share - gate.w.projection_count];
    Rows::run(exec, part, side.v, side.scale, x, split, splits, side.z);
  }
};

/// U phases of both matrices, whose tile rows begin at the same rows, and what becomes of them. A block goes through
/// eight rows of gate, then the same rows of up.
template <class W, int T>
struct ExpandGated {
  static constexpr const char* name = "ExpandGated";
  using Rows = ExpandRows<W, T>;
  static constexpr int max_threads = Rows::threads;
  static constexpr int gate_sums = Rows::z_words, up_sums = Rows::z_words + Rows::sum_words;
  GatedSide<W> gate;
  GatedSide<W> up;
  Array<float> out;

  Geometry geometry() const { return {gate.w.few_count, max_threads, up_sums + Rows::sum_words}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const ExpansionShare part = gate.w.few[exec.block()];
    const int tokens = static_cast<int>(out.rows);
    Rows::run(exec, gate.w, gate.u, part, gate.projected(), gate_sums);
    Rows::run(exec, up.w, up.u, up.w.few[exec.block()], up.projected(), up_sums);
    exec.sync();
    if (exec.thread() >= part.rows * tokens) return;
    const int r = exec.thread() / tokens, t = exec.thread() % tokens;
    out.row(t)[part.y + r] =
        gated(Rows::result(exec, gate_sums, r, t), gate.bias, Rows::result(exec, up_sums, r, t), up.bias, part.y + r);
  }
};

/// U phases of both matrices where rows are few: the shares of gate with their splits, then those of up, each with its
/// sums one below the other.
template <class W, int T>
struct ExpandPair {
  static constexpr const char* name = "ExpandPair";
  using Rows = ExpandRows<W, T>;
  static constexpr int max_threads = Rows::threads;
  GatedSide<W> gate;
  GatedSide<W> up;

  Geometry geometry() const {
    return {gate.expansion_count + up.expansion_count, max_threads, Rows::z_words + Rows::sum_words};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const bool is_gate = exec.block() < gate.expansion_count;
    const GatedSide<W>& side = is_gate ? gate : up;
    const ExpansionShare part = side.expansions[is_gate ? exec.block() : exec.block() - gate.expansion_count];
    Rows::run_to(exec, side.w, side.u, part, side.projected(), side.sums);
  }
};

/// What becomes of these sums, each matrix's added up in their order.
struct AddGated {
  static constexpr const char* name = "AddGated";
  static constexpr int max_threads = RowPieces::threads;
  Array<const float> gate;  // (splits of gate · tokens, rows)
  Array<const float> up;    // (splits of up · tokens, rows)
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  Array<float> out;  // (tokens, rows)

  Geometry geometry() const { return RowPieces::geometry(out.rows, out.cols); }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, out.cols, [&](index_t t, index_t i) {
      float a = 0, b = 0;
      for (index_t row = t; row < gate.rows; row += out.rows) a += gate.row(row)[i];
      for (index_t row = t; row < up.rows; row += out.rows) b += up.row(row)[i];
      out.row(t)[i] = gated(a, gate_bias, b, up_bias, i);
    });
  }
};

/// The same of two dense matrices, where RowStream takes both: a warp for some rows of each.
template <class W, int T>
struct MatVecGated {
  static constexpr const char* name = "MatVecGated";
  static constexpr int max_threads = 256;
  static constexpr int least_blocks = T > 1 ? 1 : per_load<W> == 16 ? 3 : 4;
  static constexpr int warps = max_threads / 32;
  static constexpr int rows_of_warp = T == 1 ? 1 : 2;  // of each matrix
  using Stream = RowStream<W, T, 2 * rows_of_warp>;
  Array<const float> x;
  Weights<W> gate;
  Weights<W> up;
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  Array<float> out;

  Geometry geometry() const { return {divide_up(gate.rows, warps * rows_of_warp), max_threads, Stream::Planes::words}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t first = (exec.block() * warps + exec.warp()) * rows_of_warp;
    Stream stream;
    HACK_UNROLL
    for (int r = 0; r < rows_of_warp; ++r) {
      const index_t row = first + r < gate.rows ? first + r : gate.rows - 1;
      stream.rows[r] = {gate.row(row), exec.lane()};
      stream.rows[rows_of_warp + r] = {up.row(row), exec.lane()};
    }
    stream.run(exec, x, first < gate.rows);
    HACK_UNROLL
    for (int r = 0; r < rows_of_warp; ++r) {
      HACK_UNROLL
      for (int t = 0; t < T; ++t) {
        float of_gate = exec.group_sum(stream.sums[r][t], 32);
        float of_up = exec.group_sum(stream.sums[rows_of_warp + r][t], 32);
        const index_t row = first + r;
        if (t < x.rows && exec.lane() == 0 && row < gate.rows) {
          if constexpr (CodecOf<W>::scales_rows) {
            of_gate *= gate.scale(exec, row);
            of_up *= up.scale(exec, row);
          }
          out.row(t)[row] = gated(of_gate, gate_bias, of_up, up_bias, row);
        }
      }
    }
  }
};

}  // namespace hack::kernels::cuda

#define HACK_GATED_TILES_1(X, W) X(ProjectPair<W, 1>) X(ExpandGated<W, 1>) X(ExpandPair<W, 1>)
#define HACK_GATED_TILES_8(X, W) X(ProjectPair<W, 8>) X(ExpandGated<W, 8>) X(ExpandPair<W, 8>)
#define HACK_GATED_DENSE_1(X, W) X(MatVecGated<W, 1>)
#define HACK_GATED_DENSE_8(X, W) X(MatVecGated<W, 8>)
/// Those of one token and those of up to eight, which take as long to compile.
#define HACK_GATED_KERNELS_1(X)                   \
  HACK_FOR_EACH_TERM_CODEC(HACK_GATED_TILES_1, X) \
  HACK_FOR_EACH_CODEC(HACK_GATED_DENSE_1, X)      \
  X(AddGated)
#define HACK_GATED_KERNELS_8(X)                   \
  HACK_FOR_EACH_TERM_CODEC(HACK_GATED_TILES_8, X) \
  HACK_FOR_EACH_CODEC(HACK_GATED_DENSE_8, X)
#define HACK_GATED_KERNELS(X) HACK_GATED_KERNELS_1(X) HACK_GATED_KERNELS_8(X)
