#include "kernels/factored_linear.hpp"

#include <algorithm>
#include <vector>

#include <omp.h>

#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/matvec.hpp"
#include "kernels/cpu/scratch.hpp"
#include "kernels/cpu/team.hpp"

namespace hack::kernels {

namespace {

using X = MatrixView<const float>;
using Y = MatrixView<float>;
using Factors = FactoredView<Device::cpu>;

thread_local Scratch rank_space;  // of the thread that calls: z (tokens, length of some z_i)

/// Tile (i, j) of a factored matrix.
struct Tile {
  index_t i, j;
  index_t rows, cols;
  index_t block;  // where z_ij starts
  index_t rank;   // its length
  TileKind kind;
};

Tile tile_at(const Factors& w, index_t i, index_t j) {
  const index_t index = i * w.tile_cols() + j;
  return {i,
          j,
          w.row_offsets[i + 1] - w.row_offsets[i],
          w.col_offsets[j + 1] - w.col_offsets[j],
          w.block_offsets[index],
          w.block_offsets[index + 1] - w.block_offsets[index],
          w.kinds[index]};
}

/// Where z_i of tile row i starts; z_i ends where the next one starts.
index_t row_block(const Factors& w, index_t i) { return w.block_offsets[i * w.tile_cols()]; }

/// Rows of a stack that starts at number `start` of the factors.
WeightView<> stacked_rows(const std::byte* numbers, DType type, index_t start, index_t rows, index_t cols) {
  return {numbers + start * size_of(type), type, rows, cols, cols};
}

void copy_dense_block(X x, const Factors& w, const Tile& tile, Y z) {
  for (index_t t = 0; t < x.rows; ++t) std::copy_n(x.row(t) + w.col_offsets[tile.j], tile.cols, z.row(t));
}

void scale_block(const float* scale, Y z) {
  for (index_t t = 0; t < z.rows; ++t) {
    for (index_t r = 0; r < z.cols; ++r) z(t, r) *= scale[r];
  }
}

/// The contiguous part [begin, end) of a stack's numbers that one thread reads.
struct Share {
  index_t begin;
  index_t end;

  Share(index_t size, index_t part, index_t parts) : begin(size * part / parts), end(size * (part + 1) / parts) {}

  /// The first of `rows` rows, of `cols` numbers each and the first at `start`, that begins at or after `number`.
  static index_t first_row(index_t number, index_t start, index_t rows, index_t cols) {
    if (number <= start) return 0;
    return std::min(rows, (number - start + cols - 1) / cols);
  }
};

/// z = s ∘ (Vᵀ x) for the rows of V that begin in `share`.
void project_share(X x, const Factors& w, const Share& share, Y z) {
  for (index_t j = 0; j < w.tile_cols(); ++j) {
    if (w.v_offsets[j] >= share.end || w.v_offsets[j + 1] <= share.begin) continue;
    index_t start = w.v_offsets[j];
    for (index_t i = 0; i < w.tile_rows(); ++i) {
      const Tile tile = tile_at(w, i, j);
      if (tile.kind == TileKind::dense || tile.rank == 0) continue;
      const index_t first = Share::first_row(share.begin, start, tile.rank, tile.cols);
      const index_t rows = Share::first_row(share.end, start, tile.rank, tile.cols) - first;
      if (rows > 0) {
        const Y block = z.block(0, tile.block + first, z.rows, rows);
        multiply_few(x.block(0, w.col_offsets[j], x.rows, tile.cols),
                     stacked_rows(w.v, w.type, start + first * tile.cols, rows, tile.cols), block, Write::replace);
        scale_block(w.scale + tile.block + first, block);
      }
      start += tile.rank * tile.cols;
    }
  }
}

/// y = U z for the rows of U that begin in `share`.
void expand_share(X z, const Factors& w, const Share& share, Y y) {
  for (index_t i = 0; i < w.tile_rows(); ++i) {
    const index_t block = row_block(w, i);
    const index_t length = row_block(w, i + 1) - block;
    if (length == 0) continue;
    const index_t count = w.row_offsets[i + 1] - w.row_offsets[i];
    const index_t first = Share::first_row(share.begin, w.u_offsets[i], count, length);
    const index_t rows = Share::first_row(share.end, w.u_offsets[i], count, length) - first;
    if (rows <= 0) continue;
    multiply_few(z.block(0, block, z.rows, length),
                 stacked_rows(w.u, w.type, w.u_offsets[i] + first * length, rows, length),
                 y.block(0, w.row_offsets[i] + first, y.rows, rows), Write::replace);
  }
}

/// Few tokens: each thread reads its share of V's bytes, then, when z is whole, its share of U's.
void apply_few(Queue<Device::cpu>& queue, X x, const Factors& w, Y y) {
  const index_t length = w.rank_space();
  const index_t tiles = w.tile_rows() * w.tile_cols();
  const Y z{rank_space.get(x.rows * length), x.rows, length};
  for (index_t i = 0; i < w.tile_rows(); ++i) {
    if (row_block(w, i) < row_block(w, i + 1)) continue;
    for (index_t t = 0; t < y.rows; ++t) std::fill(&y(t, w.row_offsets[i]), y.row(t) + w.row_offsets[i + 1], 0.0f);
  }
  const index_t bytes = (w.u_offsets.back() + w.v_offsets.back()) * size_of(w.type);
#pragma omp parallel num_threads(team_size(queue, bytes))
  {
    const index_t part = omp_get_thread_num();
    const index_t parts = omp_get_num_threads();
#pragma omp for schedule(static) nowait
    for (index_t index = 0; index < tiles; ++index) {
      if (w.kinds[index] == TileKind::factors) continue;
      const Tile tile = tile_at(w, index / w.tile_cols(), index % w.tile_cols());
      copy_dense_block(x, w, tile, z.block(0, tile.block, z.rows, tile.rank));
    }
    project_share(x, w, Share(w.v_offsets.back(), part, parts), z);
#pragma omp barrier
    expand_share(z, w, Share(w.u_offsets.back(), part, parts), y);
  }
}

/// Rows [first, first + rows) of the Vᵀ of one tile, or of U_i (j unused): the unit that is spread over threads.
struct Piece {
  index_t i, j;
  index_t first, rows;
  index_t start;  // of those rows, in numbers of V or U
};

thread_local std::vector<Piece> projections;  // of the thread that calls
thread_local std::vector<Piece> expansions;

/// Adds rows of `cols` numbers in pieces of at most a panel of the matrix product.
void cut(std::vector<Piece>& pieces, index_t i, index_t j, index_t rows, index_t cols, index_t start) {
  for (index_t first = 0; first < rows; first += gemm_panel) {
    pieces.push_back({i, j, first, std::min(gemm_panel, rows - first), start + first * cols});
  }
}

/// Lists the pieces of tile rows [first, last): of V in the order of its columns, of U in that of its rows.
void list_pieces(const Factors& w, index_t first, index_t last) {
  projections.clear();
  expansions.clear();
  for (index_t j = 0; j < w.tile_cols(); ++j) {
    index_t start = w.v_offsets[j];
    for (index_t i = 0; i < last; ++i) {
      const Tile tile = tile_at(w, i, j);
      const bool factored = tile.kind == TileKind::factors;
      if (i >= first) cut(projections, i, j, factored ? tile.rank : std::min<index_t>(tile.rank, 1), tile.cols, start);
      if (factored) start += tile.rank * tile.cols;
    }
  }
  for (index_t i = first; i < last; ++i) {
    const index_t length = row_block(w, i + 1) - row_block(w, i);
    cut(expansions, i, 0, w.row_offsets[i + 1] - w.row_offsets[i], length, w.u_offsets[i]);
  }
}

/// z_ij of one piece of V; `origin` is where z starts in rank space.
void project_piece(X x, const Factors& w, const Piece& piece, index_t origin, Y z) {
  const Tile tile = tile_at(w, piece.i, piece.j);
  if (tile.kind == TileKind::dense) {
    copy_dense_block(x, w, tile, z.block(0, tile.block - origin, z.rows, tile.rank));
    return;
  }
  const Y block = z.block(0, tile.block - origin + piece.first, z.rows, piece.rows);
  multiply_transposed(x.block(0, w.col_offsets[piece.j], x.rows, tile.cols),
                      stacked_rows(w.v, w.type, piece.start, piece.rows, tile.cols), block, Write::replace);
  scale_block(w.scale + tile.block + piece.first, block);
}

void expand_piece(X z, const Factors& w, const Piece& piece, index_t origin, Y y) {
  const index_t block = row_block(w, piece.i);
  const index_t length = row_block(w, piece.i + 1) - block;
  multiply_transposed(z.block(0, block - origin, z.rows, length),
                      stacked_rows(w.u, w.type, piece.start, piece.rows, length),
                      y.block(0, w.row_offsets[piece.i] + piece.first, y.rows, piece.rows), Write::replace);
}

/// Runs f(piece, first token, tokens) for every piece and block of tokens, inside a parallel region.
template <class F>
void share_pieces(const std::vector<Piece>& pieces, index_t tokens, const F& f) {
  const index_t count = std::ssize(pieces);
  const index_t block = count * (tokens / 512) >= 4 * omp_get_num_threads() ? 512 : 128;
  const index_t tasks = count * ((tokens + block - 1) / block);
#pragma omp for schedule(dynamic)
  for (index_t task = 0; task < tasks; ++task) {
    const index_t token = task / count * block;
    f(pieces[static_cast<std::size_t>(task % count)], token, std::min(block, tokens - token));
  }
}

/// y of tile rows [first, last) for one chunk of tokens.
void apply_tile_rows(Queue<Device::cpu>& queue, X x, const Factors& w, index_t first, index_t last, Y y) {
  const index_t origin = row_block(w, first);
  const index_t length = row_block(w, last) - origin;
  const Y z{rank_space.get(x.rows * length), x.rows, length};
  list_pieces(w, first, last);
  const std::vector<Piece>& projected = projections;  // the caller's, for all threads
  const std::vector<Piece>& expanded = expansions;
#pragma omp parallel num_threads(queue.threads())
  {
    share_pieces(projected, x.rows, [&](const Piece& piece, index_t token, index_t tokens) {
      project_piece(x.rows_from(token, tokens), w, piece, origin, z.rows_from(token, tokens));
    });
    share_pieces(expanded, x.rows, [&](const Piece& piece, index_t token, index_t tokens) {
      expand_piece(z.rows_from(token, tokens), w, piece, origin, y.rows_from(token, tokens));
    });
  }
}

/// Many tokens: matrix products, over chunks of tokens and groups of tile rows that bound the size of z.
void apply_many(Queue<Device::cpu>& queue, X x, const Factors& w, Y y) {
  constexpr index_t chunk = 512;
  constexpr index_t group_length = 16 * 1024;  // z (chunk, group_length): 32 MB, unless one tile row is longer
  for (index_t first = 0; first < w.tile_rows();) {
    index_t last = first + 1;
    while (last < w.tile_rows() && row_block(w, last + 1) - row_block(w, first) <= group_length) ++last;
    for (index_t token = 0; token < x.rows; token += chunk) {
      const index_t tokens = std::min(chunk, x.rows - token);
      apply_tile_rows(queue, x.rows_from(token, tokens), w, first, last, y.rows_from(token, tokens));
    }
    first = last;
  }
}

}  // namespace

template <>
void factored_linear<Device::cpu>(Queue<Device::cpu>& queue, X x, const Factors& w, Y y) {
  HACK_EXPECT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  if (y.rows == 0 || y.cols == 0) return;
  if (w.rank_space() == 0) {
    for (index_t t = 0; t < y.rows; ++t) std::fill_n(y.row(t), y.cols, 0.0f);
  } else if (x.rows <= few_tokens) {
    apply_few(queue, x, w, y);
  } else {
    apply_many(queue, x, w, y);
  }
}

}  // namespace hack::kernels
