#include "kernels/cpu/linear/rank_space.hpp"

#include "kernels/cpu/linear/bf16_product.hpp"
#include "kernels/cpu/linear/interleave.hpp"
#include "kernels/cpu/linear/row_math.hpp"
#include "kernels/cpu/memory/scratch.hpp"

namespace hack::kernels {
namespace {

using X = MatrixView<const float>;
using Y = MatrixView<float>;
using Factors = FactoredView<Device::cpu>;

thread_local Scratch rank_space;  // of the thread that makes it
thread_local Scratch projected;   // of every thread: some rows of V_j times x_j

void put(X sums, Y z) {
  for (index_t t = 0; t < z.rows; ++t) std::copy_n(sums.row(t), z.cols, z.row(t));
}
void put(X sums, MatrixView<bf16> z) {
  for (index_t t = 0; t < z.rows; ++t) round_row(sums.row(t), z.cols, z.row(t));
}
void put_scaled(X sums, const float* scale, Y z) { scale_columns(sums, scale, z); }
void put_scaled(X sums, const float* scale, MatrixView<bf16> z) {
  for (index_t t = 0; t < z.rows; ++t) scale_and_round(sums.row(t), scale, z.cols, z.row(t));
}

/// Calls f(i, tile, begin, count) for the tiles of a part of V_j: `count` rows of the tile's, from its row `begin` on.
template <class F>
void for_each_tile(const Factors& w, const Projection& part, const F& f) {
  index_t start = 0;  // of a tile, in rows of V_j
  const index_t last = part.first + part.rows;
  for (index_t i = 0; i < w.tile_rows() && start < last; ++i) {
    const TileLayout& tile = w.tile(i, part.j);
    if (tile.kind == Structure::dense) continue;
    const index_t begin = std::max(start, part.first);
    const index_t count = std::min(start + tile.size, last) - begin;
    if (count > 0) f(i, tile, begin - start, count);
    start += tile.size;
  }
}

/// Writes what the rows of V_j make of x, tile by tile to z, times the singular values of two factors.
template <class T>
void scatter(X sums, const Factors& w, const Projection& part, index_t token, const RankSpace<T>& z) {
  index_t done = 0;  // columns of sums
  for_each_tile(w, part, [&](index_t i, const TileLayout& tile, index_t begin, index_t count) {
    const MatrixView<T> block = z.tile(i, tile, token, sums.rows).block(0, begin, sums.rows, count);
    const X from = sums.block(0, done, sums.rows, count);
    if (tile.kind == Structure::low_rank) {
      put_scaled(from, w.scale + tile.scale + begin, block);
    } else {
      put(from, block);
    }
    done += count;
  });
}

}  // namespace

template <class T>
RankSpace<T>::RankSpace(const FactoredView<Device::cpu>& w, index_t tokens, index_t first, index_t last)
    : w_(w), tokens_(tokens), origin_(w.block_offsets[first]) {
  const index_t numbers = tokens * (w.block_offsets[last] - origin_) + interleave_slack;
  constexpr index_t of_a_float = sizeof(float) / sizeof(T);
  data_ = reinterpret_cast<T*>(rank_space.get((numbers + of_a_float - 1) / of_a_float));
}

template <class T>
void project(FactorProduct<T> product, MatrixView<const T> x, const Factors& w, const Projection& part, index_t token,
             const RankSpace<T>& z) {
  const Y sums{projected.get(x.rows * part.rows), x.rows, part.rows};
  product(x.block(0, w.col_offsets[part.j], x.rows, tile_width(w, part.j)),
          right_rows(w, part.j, part.first, part.rows), sums, Write::replace);
  scatter(sums, w, part, token, z);
}

template class RankSpace<float>;
template class RankSpace<bf16>;
template void project(FactorProduct<float>, MatrixView<const float>, const Factors&, const Projection&, index_t,
                      const RankSpace<float>&);
template void project(FactorProduct<bf16>, MatrixView<const bf16>, const Factors&, const Projection&, index_t,
                      const RankSpace<bf16>&);

}  // namespace hack::kernels
