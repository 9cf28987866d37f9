#pragma once

#include "kernels/cuda/linear/gated.cuh"
#include "kernels/cuda/linear/row_stream.cuh"

namespace hack::kernels::cuda {

/// silu(gate(x)) * up(x) of two dense matrices that RowStream takes: a warp for some rows of each.
template <class W, int T>
struct MatVecGated {
  static constexpr const char* name = "MatVecGated";
  static constexpr int max_threads = 256;
  static constexpr int least_blocks = T > 1 ? 1 : blocks_of_stream<W>;
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

#define HACK_GATED_DENSE_1(X, W) X(MatVecGated<W, 1>)
#define HACK_GATED_DENSE_8(X, W) X(MatVecGated<W, 8>)
/// Those of one token and those of up to eight, which take as long to compile.
#define HACK_GATED_KERNELS_1(X) HACK_FOR_EACH_CODEC(HACK_GATED_DENSE_1, X)
#define HACK_GATED_KERNELS_8(X) HACK_FOR_EACH_CODEC(HACK_GATED_DENSE_8, X)
#define HACK_GATED_KERNELS(X) HACK_GATED_KERNELS_1(X) HACK_GATED_KERNELS_8(X)
