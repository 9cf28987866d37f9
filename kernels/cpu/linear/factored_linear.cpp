#include "kernels/factored_linear.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include <omp.h>

#include "kernels/cpu/linear/bf16_product.hpp"
#include "kernels/cpu/linear/few_product.hpp"
#include "kernels/cpu/linear/gemm.hpp"
#include "kernels/cpu/linear/interleave.hpp"
#include "kernels/cpu/linear/rank_space.hpp"
#include "kernels/cpu/linear/row_math.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/team.hpp"
#include "kernels/row_marks.hpp"

namespace hack::kernels {

namespace {

using X = MatrixView<const float>;
using Y = MatrixView<float>;
using Factors = FactoredView<Device::cpu>;

void multiply_rounded(MatrixView<const bf16> x, WeightView<> w, Y y, Write write) {
  multiply_transposed_bf16(best_bf16_unit(), x, w, y, write);
}

// Of every thread: C z_ij (tokens, some rows); rows of U with those of interpolative tiles between; z of an
// interpolative tile's own rows.
thread_local Scratch products;
thread_local Scratch unfolded;
thread_local Scratch widened;

/// z of an interpolative tile's own rows as numbers of f32.
X wide(X z) { return z; }
X wide(MatrixView<const bf16> z) {
  const Y numbers{widened.get(z.rows * z.cols + interleave_slack), z.rows, z.cols};
  for (index_t t = 0; t < z.rows; ++t) widen(z.row(t), DType::bf16, numbers.row(t), z.cols);
  return numbers;
}

/// y = what the tile makes of z_ij, added; of rows [first, first + y.cols) of its tile row. first is a multiple of 8.
/// `start` is where z_i starts in rank space.
template <class T>
void add_interpolative(FactorProduct<T> product, MatrixView<const T> z, index_t start, const Factors& w,
                       const TileLayout& tile, index_t first, Y y) {
  const std::uint8_t* marks = w.marks + tile.marks + first / 8;
  const index_t above = count_marks(w.marks + tile.marks, first);
  const index_t skeleton = count_marks(marks, y.cols);
  const index_t others = y.cols - skeleton;
  const MatrixView<const T> block = z.block(0, tile.block - start, z.rows, tile.size);
  const Y sums{products.get(z.rows * others + interleave_slack), z.rows, others};
  if (others > 0) {
    product(block, left_rows(w, tile, first - above, others), sums, Write::replace);
  }
  add_interleaved(wide(block.block(0, tile.first_skeleton + above, z.rows, skeleton)), sums, marks, y);
}

/// Zeros, where y is to be replaced.
void clear(Y y, Write write) {
  for (index_t t = 0; t < y.rows && write == Write::replace; ++t) std::fill_n(y.row(t), y.cols, 0.0f);
}

/// y = or += rows [first, first + y.cols) of tile row i, of z_i; first as above.
template <class T>
void expand_rows(FactorProduct<T> product, MatrixView<const T> z, const Factors& w, index_t i, index_t first, Y y,
                 Write write) {
  const index_t stack = w.stack_sizes[i], start = w.block_offsets[i];
  if (stack > 0) {
    product(z.block(0, 0, z.rows, stack), stacked_rows(w, i, first, y.cols), y, write);
  } else {
    clear(y, write);
  }
  if (stack == w.block_offsets[i + 1] - start) return;
  for (index_t j = 0; j < w.tile_cols(); ++j) {
    const TileLayout& tile = w.tile(i, j);
    if (tile.is_stacked || tile.size == 0) continue;
    if (tile.kind == Structure::interpolative) {
      add_interpolative(product, z, start, w, tile, first, y);
    } else {
      product(z.block(0, tile.block - start, z.rows, tile.size), left_rows(w, tile, first, y.cols), y, Write::add);
    }
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

/// z for the rows of V that begin in `share`.
void project_share(FactorProduct<float> product, X x, const Factors& w, const Share& share, const RankSpace<float>& z) {
  for (index_t j = 0; j < w.tile_cols(); ++j) {
    const index_t start = w.v_offsets[j], width = padded_length(w.codec, tile_width(w, j));
    const index_t rows = (w.v_offsets[j + 1] - start) / std::max<index_t>(width, 1);
    const index_t first = Share::first_row(share.begin, start, rows, width);
    const index_t last = Share::first_row(share.end, start, rows, width);
    if (first < last) project<float>(product, x, w, {j, first, last - first}, 0, z);
  }
}

/// Numbers of U before tile row i, and what each row of y costs beside them.
index_t expansion_work(const Factors& w, index_t i) { return w.u_offsets[i] + 16 * w.row_offsets[i]; }

/// y for the rows whose even part of their tile row's work begins in `share`. Rows are taken by eights, as marks are.
void expand_share(FactorProduct<float> product, const RankSpace<float>& z, const Factors& w, const Share& share, Y y,
                  Write write) {
  for (index_t i = 0; i < w.tile_rows(); ++i) {
    const index_t begin = expansion_work(w, i), work = expansion_work(w, i + 1) - begin;
    const index_t height = tile_height(w, i);
    const auto first_row = [&](index_t number) {
      const index_t row = (std::clamp<index_t>(number - begin, 0, work) * height + work - 1) / work;
      return std::min(height, (row + 7) / 8 * 8);
    };
    const index_t first = first_row(share.begin), last = first_row(share.end);
    if (first < last) {
      expand_rows<float>(product, z.tile_row(i), w, i, first,
                         y.block(0, w.row_offsets[i] + first, y.rows, last - first), write);
    }
  }
}

/// Few tokens: each thread reads its share of V's bytes, then, when z is whole, its share of U's.
void apply_few(Queue<Device::cpu>& queue, X x, const Factors& w, Y y, Write write) {
  const FactorProduct<float> product = few_product(queue, w.codec);
  const RankSpace<float> z(w, x.rows, 0, w.tile_rows());
  const index_t bytes = (w.u_offsets.back() + w.v_offsets.back()) * spec_of(w.codec).code_bits / 8;
#pragma omp parallel num_threads(team_size(queue, bytes))
  {
    const index_t part = omp_get_thread_num();
    const index_t parts = omp_get_num_threads();
#pragma omp for schedule(static) nowait
    for (index_t index = 0; index < std::ssize(w.tiles); ++index) {
      const TileLayout& tile = w.tiles[index];
      if (tile.kind != Structure::dense) continue;
      copy_dense_block<float>(x, w, index % w.tile_cols(), z.tile(index / w.tile_cols(), tile, 0, x.rows));
    }
    project_share(product, x, w, Share(w.v_offsets.back(), part, parts), z);
#pragma omp barrier
    expand_share(product, z, w, Share(expansion_work(w, w.tile_rows()), part, parts), y, write);
  }
}

/// The unit that is spread over threads: a projection, rows [first, first + rows) of tile row i's expansion, or the
/// copy that a dense tile's z is.
struct WorkPiece {
  enum class Kind : std::uint8_t { projection, copy, expansion };
  Kind kind;
  index_t i, j;
  index_t first, rows;
};

thread_local std::vector<WorkPiece> projections;  // of the thread that calls
thread_local std::vector<WorkPiece> expansions;

/// Adds rows [first, last) in pieces whose product with a block of tokens stays in L2.
void cut(std::vector<WorkPiece>& pieces, WorkPiece piece, index_t first, index_t last) {
  constexpr index_t piece_rows = 128;  // a multiple of 8, as marks need it
  for (; first < last; first += piece_rows) {
    piece.first = first;
    piece.rows = std::min(piece_rows, last - first);
    pieces.push_back(piece);
  }
}

/// Lists the pieces of tile rows [first, last): of V in the order of its columns, of U in that of its rows.
void list_pieces(const Factors& w, index_t first, index_t last) {
  projections.clear();
  expansions.clear();
  for (index_t j = 0; j < w.tile_cols(); ++j) {
    index_t begin = 0, end = 0;  // of these tile rows' rows of V_j
    for (index_t i = 0; i < last; ++i) {
      if (i == first) begin = end;
      const TileLayout& tile = w.tile(i, j);
      if (tile.kind != Structure::dense) {
        end += tile.size;
      } else if (i >= first) {
        projections.push_back({WorkPiece::Kind::copy, i, j, 0, 0});
      }
    }
    cut(projections, {WorkPiece::Kind::projection, 0, j, 0, 0}, begin, end);
  }
  for (index_t i = first; i < last; ++i)
    cut(expansions, {WorkPiece::Kind::expansion, i, 0, 0, 0}, 0, tile_height(w, i));
}

/// z of one piece and of the tokens of x, the first of which is `token`.
template <class T>
void project_piece(FactorProduct<T> product, MatrixView<const T> x, const Factors& w, const WorkPiece& piece,
                   index_t token, const RankSpace<T>& z) {
  if (piece.kind == WorkPiece::Kind::copy) {
    copy_dense_block<T>(x, w, piece.j, z.tile(piece.i, w.tile(piece.i, piece.j), token, x.rows));
  } else {
    project<T>(product, x, w, {piece.j, piece.first, piece.rows}, token, z);
  }
}

/// Whether the interpolative tiles of a row are to join its one product, a skeleton row being a unit vector. That costs
/// k h of a tile's flops in place of k (h - k), but a product with each tile's C is short, and what it makes has to be
/// put between the skeleton rows. Between ranks 48 and 64 of tiles of 128 two factors began to take longer than such
/// products: hence k <= 3/8 h. AMX multiplies so fast that what short products cost beside their flops counts alone.
bool joins_interpolative(const Factors& w, index_t i) {
  if (w.codec == Codec::bf16 && has_bf16_unit(Bf16Unit::amx)) return true;
  const index_t height = tile_height(w, i);
  index_t joined = 0, apart = 0;
  for (index_t j = 0; j < w.tile_cols(); ++j) {
    const TileLayout& tile = w.tile(i, j);
    if (tile.kind != Structure::interpolative) continue;
    joined += tile.size * height;
    apart += tile.size * std::max<index_t>(0, height - tile.size);
  }
  return 5 * joined <= 8 * apart;
}

/// The number type of a codec without scales.
DType plain_type(const Factors& w) {
  return w.codec == Codec::f32 ? DType::f32 : w.codec == Codec::bf16 ? DType::bf16 : DType::f16;
}

/// Writes the numbers of an interpolative tile's rows [first, first + rows) as rows of a U, `bytes` apart.
void unfold_interpolative(const Factors& w, const TileLayout& tile, index_t first, index_t rows, std::byte* to,
                          index_t bytes) {
  const DType type = plain_type(w);
  const index_t size = size_of(type);
  const float one = 1;
  index_t above = count_marks(w.marks + tile.marks, first);
  for (index_t r = 0; r < rows; ++r, to += bytes) {
    if (is_marked(w.marks + tile.marks, first + r)) {
      std::memset(to, 0, static_cast<std::size_t>(tile.size * size));
      convert(&one, DType::f32, to + (tile.first_skeleton + above) * size, type, 1);
      ++above;
    } else {
      std::memcpy(to, w.u + (tile.left + (first + r - above) * tile.size) * size,
                  static_cast<std::size_t>(tile.size * size));
    }
  }
}

/// y = or += one piece of a tile row whose interpolative tiles join its product.
template <class T>
void expand_joined(FactorProduct<T> product, MatrixView<const T> z, const Factors& w, const WorkPiece& piece, Y y,
                   Write write) {
  const index_t size = size_of(plain_type(w)), stack = w.stack_sizes[piece.i];
  auto* u = reinterpret_cast<std::byte*>(unfolded.get((piece.rows * z.cols * size + 3) / 4));  // (rows, length of z_i)
  const std::byte* stacked = w.u + (w.u_offsets[piece.i] + piece.first * stack) * size;
  for (index_t r = 0; r < piece.rows && stack > 0; ++r) {
    std::memcpy(u + r * z.cols * size, stacked + r * stack * size, static_cast<std::size_t>(stack * size));
  }
  for (index_t j = 0; j < w.tile_cols(); ++j) {
    const TileLayout& tile = w.tile(piece.i, j);
    if (tile.kind != Structure::interpolative || tile.size == 0) continue;
    unfold_interpolative(w, tile, piece.first, piece.rows, u + (tile.block - w.block_offsets[piece.i]) * size,
                         z.cols * size);
  }
  product(z, {u, w.codec, piece.rows, z.cols, z.cols}, y, write);
}

/// y = or += one piece of a tile row. Where tiles stand apart some tokens at a time: then y and what is added to it
/// stay in L2 from tile to tile.
template <class T>
void expand_piece(FactorProduct<T> product, MatrixView<const T> z, const Factors& w, const WorkPiece& piece, Y y,
                  Write write) {
  const Y rows = y.block(0, w.row_offsets[piece.i] + piece.first, z.rows, piece.rows);
  const bool has_apart = w.stack_sizes[piece.i] < z.cols;
  if (has_apart && !has_scales(w.codec) && joins_interpolative(w, piece.i)) {
    return expand_joined<T>(product, z, w, piece, rows, write);
  }
  const index_t step = has_apart ? 128 : z.rows;
  for (index_t token = 0; token < z.rows; token += step) {
    const index_t tokens = std::min(step, z.rows - token);
    expand_rows<T>(product, z.rows_from(token, tokens), w, piece.i, piece.first, rows.rows_from(token, tokens), write);
  }
}

/// Runs f(piece, first token, tokens) for every piece and block of tokens, inside a parallel region.
template <class F>
void share_pieces(const std::vector<WorkPiece>& pieces, index_t tokens, const F& f) {
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
template <class T>
void apply_tile_rows(Queue<Device::cpu>& queue, FactorProduct<T> product, MatrixView<const T> x, const Factors& w,
                     index_t first, index_t last, Y y, Write write) {
  const RankSpace<T> z(w, x.rows, first, last);
  list_pieces(w, first, last);
  const std::vector<WorkPiece>& projected = projections;  // the caller's, for all threads
  const std::vector<WorkPiece>& expanded = expansions;
#pragma omp parallel num_threads(queue.threads())
  {
    share_pieces(projected, x.rows, [&](const WorkPiece& piece, index_t token, index_t tokens) {
      project_piece<T>(product, x.rows_from(token, tokens), w, piece, token, z);
    });
    share_pieces(expanded, x.rows, [&](const WorkPiece& piece, index_t token, index_t tokens) {
      expand_piece<T>(product, z.tile_row(piece.i).rows_from(token, tokens), w, piece, y.rows_from(token, tokens),
                      write);
    });
  }
}

/// One chunk of tokens: matrix products, over groups of tile rows that bound the size of z.
template <class T>
void apply_chunk(Queue<Device::cpu>& queue, FactorProduct<T> product, MatrixView<const T> x, const Factors& w, Y y,
                 Write write) {
  constexpr index_t group_length = 16 * 1024;  // z (chunk, group_length): 32 MB in f32, unless one tile row is longer
  for (index_t first = 0; first < w.tile_rows();) {
    index_t last = first + 1;
    while (last < w.tile_rows() && w.block_offsets[last + 1] - w.block_offsets[first] <= group_length) ++last;
    apply_tile_rows<T>(queue, product, x, w, first, last, y, write);
    first = last;
  }
}

void apply_many(Queue<Device::cpu>& queue, X x, const Factors& w, Y y, Write write) {
  constexpr index_t chunk = RoundedRows::chunk;
  for (index_t token = 0; token < x.rows; token += chunk) {
    const X some = x.rows_from(token, std::min(chunk, x.rows - token));
    const Y out = y.rows_from(token, some.rows);
    if (is_multiplied_in_bf16(queue, w.codec)) {
      apply_chunk<bf16>(queue, multiply_rounded, RoundedRows(queue, some).view(), w, out, write);
    } else {
      apply_chunk<float>(queue, multiply_transposed, some, w, out, write);
    }
  }
}

}  // namespace

template <>
void factored_linear<Device::cpu>(Queue<Device::cpu>& queue, X x, const Factors& w, Y y, Write write) {
  HACK_EXPECT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  if (y.rows == 0 || y.cols == 0) return;
  if (const auto matrix = w.as_matrix()) {
    linear(queue, x, *matrix, y, write);
  } else if (w.rank_space() == 0) {
    clear(y, write);
  } else if (x.rows <= few_tokens) {
    apply_few(queue, x, w, y, write);
  } else {
    apply_many(queue, x, w, y, write);
  }
}

}  // namespace hack::kernels
