#pragma once

#include "kernels/cuda/linear/tile_load.cuh"

namespace hack::kernels::cuda {

/// Right and left rows of a run of tiles, for up to T tokens: z never leaves the multiprocessor.
///
/// A warp makes z of some right rows, eight lanes a row and four rows a lane. Then all rows of the run are multiplied
/// with all of its z, likewise: a lane takes every eighth load of the run, whichever tile it is of, so that lanes have
/// work however low the ranks are. A lane adds in the same order for any number of tokens.
template <class W, int T, bool Aligned>
struct RunRows {
  using Load = TileLoad<W, Aligned>;
  static constexpr int threads = 256, warps = threads / 32, lanes = 8, left_rows = 4;
  static constexpr int n = per_load<W>;
  static constexpr int rows = n == 4 && T == 1 ? 2 : 4;  // of V, that a lane multiplies at once; as registers allow
  static constexpr int loads_of_row = TileRuns::most_rows / lanes / n;  // of V, by one lane
  static constexpr int turn = n == 16 ? 1 : 2;                          // loads of each left row, by one lane
  using X = LoadPlanes<W, TileRuns::most_rows>;
  using Z = LoadPlanes<W, TileRuns::numbers>;
  static constexpr int x_at = T * Z::vector;  // in shared memory, behind z
  static constexpr int loads_at = x_at + warps * T * X::vector;
  static constexpr int load_words = sizeof(RunLoad) / 4;
  static constexpr int tables_at = loads_at + TileRuns::numbers / n * load_words;
  static constexpr int spare_at = tables_at + TileRuns::table_words;
  static constexpr int last_at = spare_at + threads, shared_words = last_at + 4;
  static constexpr int bytes_in_flight =  // of weights, of a warp; lanes may share a load
      left_rows * turn * 32 * n * static_cast<int>(spec_of(CodecOf<W>::codec).code_bits) / 8;
  static constexpr bool has_scales = has_blocks<W> || CodecOf<W>::scales_rows;  // which are loaded beside codes

  /// Puts what the run's loads and rows are into shared memory, and zeros where z will be.
  template <class Exec>
  HACK_BODY static void prepare(Exec& exec, const TileSide<W>& side, const TileRun& run) {
    const auto words = exec.template shared<float>(0);
    const auto* loads = reinterpret_cast<const float*>(side.runs.loads + run.first_load);
    const int count = (run.last_load - run.first_load) * load_words;
    HACK_NO_UNROLL
    for (int i = 4 * exec.thread(); i < count; i += 4 * threads) {
      float four[4];
      exec.load_floats(loads + i, four);
      exec.write16(words, loads_at + i, four);
    }
    HACK_NO_UNROLL
    for (int i = 4 * exec.thread(); i < T * Z::vector; i += 4 * threads) exec.write16(words, i, {0, 0, 0, 0});
    const auto table = exec.template shared<int>(tables_at);
    const int stride = run.table, tables = 1 + run.last_skeleton - run.first_skeleton;
    HACK_NO_UNROLL
    for (int i = exec.thread(); i < tables * stride; i += threads) {
      const int row = i % stride, last = run.rows - 1, tile = i / stride;
      int stored = row < last ? row : last;
      if (tile > 0) {
        const RunSkeleton skeleton = side.runs.skeletons[run.first_skeleton + tile - 1];
        const SkeletonRow at(side.skeleton + skeleton.eights, stored);
        stored = at.is_skeleton ? -1 - (skeleton.z + at.above) : stored - at.above;
      }
      table[i] = stored;
    }
  }

  /// z of the run's parts.
  template <class Exec>
  HACK_BODY static void project(Exec& exec, const TileSide<W>& side, const TileRun& run, const Array<const float>& x) {
    const auto z = exec.template shared<float>(0);
    HACK_NO_UNROLL
    for (int p = run.first_part + exec.warp(); p < run.last_part; p += warps) {
      const RunPart part = side.runs.parts[p];
      if (part.rows == 0) {
        for (int t = 0; t < static_cast<int>(x.rows); ++t) {
          for (int l = exec.lane(); l < part.width; l += 32) z[z_of(t, part.z + l)] = x.row(t)[part.col + l];
        }
        continue;
      }
      stage(exec, x, part.col, part.width);
      HACK_NO_UNROLL
      for (int first = 0; first < part.rows; first += 4 * rows) multiply_right(exec, side.v, part, first, z);
      exec.sync_warp();  // z, to be scaled by other lanes; x has been read
      const int row = exec.lane();
      if (row >= part.rows || (!CodecOf<W>::scales_rows && part.scale < 0)) continue;
      float factor = part.scale < 0 ? 1.0f : exec.weight(side.scale[part.scale + row]);
      if constexpr (CodecOf<W>::scales_rows) factor *= CodecOf<W>::scale(exec, side.v.scales + part.scales, row);
      HACK_UNROLL
      for (int t = 0; t < T; ++t) z[z_of(t, part.z + row)] *= factor;
    }
  }

  /// The run's sums, to y (tokens, rows of the matrix).
  template <class Exec>
  HACK_BODY static void expand(Exec& exec, const TileSide<W>& side, const TileRun& run, index_t tokens, float* y,
                               index_t ld) {
    const int group = exec.thread() / lanes, lane = exec.thread() % lanes;
    const int first = left_rows * group;
    const int loads = first < run.rows ? run.last_load - run.first_load : 0;
    const auto words = exec.template shared<float>(0);
    float sums[left_rows][T] = {};
    auto numbers = words + 4 * lane, entries = words + (loads_at + load_words * lane);
    HACK_NO_UNROLL
    for (int c = lane; c < loads; c += turn * lanes) {
      typename Load::Load taken[turn][left_rows];
      float scales[turn][left_rows];
      HACK_UNROLL
      for (int u = 0; u < turn; ++u)
        take_left(exec, side.u, words, entries + u * lanes * load_words, first, taken[u], scales[u]);
      HACK_UNROLL
      for (int u = 0; u < turn; ++u) {
        if constexpr (CodecOf<W>::scales_rows) {
          float parts[left_rows][T] = {};
          multiply_loads<W, Aligned, Z>(exec, taken[u], numbers + 4 * u * lanes, parts);
          HACK_UNROLL
          for (int r = 0; r < left_rows; ++r) {
            HACK_UNROLL
            for (int t = 0; t < T; ++t) sums[r][t] = fmaf(scales[u][r], parts[r][t], sums[r][t]);
          }
        } else {
          multiply_loads<W, Aligned, Z>(exec, taken[u], numbers + 4 * u * lanes, sums);
        }
      }
      numbers = numbers + 4 * turn * lanes;
      entries = entries + load_words * turn * lanes;
    }
    add_skeletons(exec, run, first, lane, sums);
    HACK_UNROLL
    for (int r = 0; r < left_rows; ++r) {
      HACK_UNROLL
      for (int t = 0; t < T; ++t) {
        const float sum = exec.group_sum(sums[r][t], lanes);
        if (lane == 0 && t < tokens && first + r < run.rows) y[t * ld + run.y + first + r] = sum;
      }
    }
  }

 private:
  HACK_BODY static int z_of(int t, int l) { return Z::at(t, static_cast<unsigned>(l)); }
  HACK_BODY static int x_of_warp(int warp) { return x_at + warp * T * X::vector; }

  /// The warp's columns of x, zeros behind them.
  template <class Exec>
  HACK_BODY static void stage(Exec& exec, const Array<const float>& x, int col, int width) {
    const auto to = exec.template shared<float>(x_of_warp(exec.warp()));
    HACK_NO_UNROLL
    for (int t = 0; t < T; ++t) {
      HACK_UNROLL
      for (int l = exec.lane(); l < TileRuns::most_rows; l += 32) {
        to[X::at(t, static_cast<unsigned>(l))] = l < width && t < x.rows ? x.row(t)[col + l] : 0.0f;
      }
    }
    exec.sync_warp();
  }

  /// z of `rows` rows for each of the warp's four groups of lanes.
  template <class Exec, class Words>
  HACK_BODY static void multiply_right(Exec& exec, const Factors<W>& v, const RunPart& part, int first,
                                       const Words& words) {
    const int group = exec.lane() / lanes, lane = exec.lane() % lanes;
    typename Load::Load taken[loads_of_row][rows];
    HACK_UNROLL
    for (int u = 0; u < loads_of_row; ++u) {
      const int at = (lane + u * lanes) * n < part.width ? (lane + u * lanes) * n : 0;
      HACK_UNROLL
      for (int r = 0; r < rows; ++r) {
        const int own = first + group + 4 * r, row = own < part.rows ? own : part.rows - 1;
        taken[u][r] = take_right(exec, v, part, row, at);
      }
    }
    float sums[rows][T] = {};
    HACK_UNROLL
    for (int u = 0; u < loads_of_row; ++u) {
      const auto numbers = words + (x_of_warp(exec.warp()) + 4 * (lane + u * lanes));
      multiply_loads<W, Aligned, X>(exec, taken[u], numbers, sums);
    }
    const int row = first + group + 4 * lane;  // lane r of a group keeps the sum of the r-th row
    HACK_UNROLL
    for (int t = 0; t < T; ++t) {
      float own = 0;
      HACK_UNROLL
      for (int r = 0; r < rows; ++r) {
        const float sum = exec.group_sum(sums[r][t], lanes);
        own = lane == r ? sum : own;
      }
      // Without a branch: who has nothing to say writes where nobody reads.
      const bool has_row = lane < rows && row < part.rows;
      const int to = z_of(t, part.z + row), spare = spare_at + exec.thread();
      words[has_row ? to : spare] = own;
    }
  }

  template <class Exec>
  HACK_BODY static typename Load::Load take_right(Exec& exec, const Factors<W>& v, const RunPart& part, int row,
                                                  int at) {
    const auto* codes =
        reinterpret_cast<const std::byte*>(v.codes) + part.codes + static_cast<index_t>(row) * part.row_bytes;
    if constexpr (has_blocks<W>) {
      constexpr int block = CodecOf<W>::block;
      const std::byte* scales = v.scales + part.scales + static_cast<index_t>(row) * part.row_scales;
      return Load::take(exec, codes + at / block * static_cast<int>(sizeof(W)),
                        scales + at / block * CodecOf<W>::bytes_of_scales, at % block / n);
    } else {
      return Load::take(exec, codes + at * static_cast<int>(sizeof(W)), nullptr,
                        part.width - at < n ? part.width - at : n);
    }
  }

  /// The run's load that `entry` says, of four rows from row `first` on; zeros of skeleton rows.
  template <class Exec, class Words>
  HACK_BODY static void take_left(Exec& exec, const Factors<W>& u, const Words& words, const Words& entry, int first,
                                  typename Load::Load (&taken)[left_rows], float (&scales)[left_rows]) {
    RunLoad load;
    float halves[2][4], table[4];
    exec.read16(entry, 0, halves[0]);
    exec.read16(entry, 4, halves[1]);
    memcpy(&load, halves, sizeof(load));
    int stored[4];
    exec.read16(words, tables_at + (load.table_and_part & RunLoad::table_mask) + first, table);
    memcpy(stored, table, sizeof(stored));
    const int part = load.table_and_part >> RunLoad::part_at;
    const auto* codes = reinterpret_cast<const std::byte*>(u.codes) + load.codes;
    HACK_UNROLL
    for (int r = 0; r < left_rows; ++r) {
      const bool is_there = stored[r] >= 0;
      const int row = is_there ? stored[r] : 0;
      const std::byte* own = u.scales + load.scales + static_cast<index_t>(row) * load.row_scales;
      taken[r] = Load::take_if(exec, is_there, codes + static_cast<index_t>(row) * load.row_bytes, own, part);
      if constexpr (CodecOf<W>::scales_rows) scales[r] = is_there ? CodecOf<W>::scale(exec, own, 0) : 0.0f;
    }
  }

  /// Rows that an interpolative tile keeps as they are: their numbers of z. A lane for every eighth tile.
  template <class Exec>
  HACK_BODY static void add_skeletons(Exec& exec, const TileRun& run, int first, int lane,
                                      float (&sums)[left_rows][T]) {
    const auto z = exec.template shared<float>(0);
    const auto table = exec.template shared<int>(tables_at + first);
    const int tables = first < run.rows ? run.last_skeleton - run.first_skeleton : 0;
    HACK_NO_UNROLL
    for (int tile = 1 + lane; tile <= tables; tile += lanes) {
      HACK_UNROLL
      for (int r = 0; r < left_rows; ++r) {
        const int stored = table[tile * run.table + r];
        if (stored >= 0) continue;
        HACK_UNROLL
        for (int t = 0; t < T; ++t) sums[r][t] += z[z_of(t, -1 - stored)];
      }
    }
  }
};

}  // namespace hack::kernels::cuda
