#include "kernels/factored_linear.hpp"

#include <cstring>

#include <gtest/gtest.h>

#include "kernels/row_marks.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;
using tests::view_of;

/// What a tile of a random matrix is.
struct Form {
  TileKind kind = TileKind::factors;
  index_t rank = 0;
};
constexpr Form dense{TileKind::dense, 0};
constexpr Form factors(index_t rank) { return {TileKind::factors, rank}; }
constexpr Form pivoted(index_t rank) { return {TileKind::pivoted, rank}; }

/// A matrix of random tiles in any form, and what owns its memory.
struct RandomFactors {
  std::vector<index_t> row_offsets{0}, col_offsets{0}, block_offsets{0}, stack_sizes, u_offsets{0}, v_offsets{0};
  std::vector<TileLayout> tiles;
  std::vector<index_t> v_starts;  // (I * J) of each tile's rows of V
  std::vector<float> u, v, scale;
  std::vector<std::uint8_t> marks;
  std::vector<std::byte> u_bytes, v_bytes;
  std::vector<float> matrix;  // (rows, cols): Σ U s Vᵀ, in f32 of f64 sums
  std::vector<float> sizes;   // (rows, cols): Σ |U| s |Vᵀ|
  FactoredView<Device::cpu> view;

  /// `form_of(i, j)` says what tile (i, j) is. Of pivoted tiles the view has about as large a part of the pivots as of
  /// their rows; the others lie above and below.
  template <class F>
  RandomFactors(index_t rows, index_t cols, index_t tile, DType type, F form_of) {
    for (index_t i = tile; i < rows + tile && rows > 0; i += tile) row_offsets.push_back(std::min(i, rows));
    for (index_t j = tile; j < cols + tile && cols > 0; j += tile) col_offsets.push_back(std::min(j, cols));
    const index_t tile_rows = std::ssize(row_offsets) - 1, tile_cols = std::ssize(col_offsets) - 1;
    tiles.resize(static_cast<std::size_t>(tile_rows * tile_cols));
    v_starts.resize(tiles.size());
    for (index_t i = 0; i < tile_rows; ++i) {
      for (index_t j = 0; j < tile_cols; ++j) {
        const Form form = form_of(i, j);
        TileLayout& layout = tiles[i * tile_cols + j];
        layout.kind = form.kind;
        layout.size = form.kind == TileKind::dense ? col_offsets[j + 1] - col_offsets[j] : form.rank;
      }
      lay_out_row(i, tile_cols);
    }
    for (index_t j = 0; j < tile_cols; ++j) {
      index_t end = v_offsets.back();
      for (index_t i = 0; i < tile_rows; ++i) {
        v_starts[i * tile_cols + j] = end;
        const TileLayout& layout = tiles[i * tile_cols + j];
        if (layout.kind != TileKind::dense) end += layout.size * (col_offsets[j + 1] - col_offsets[j]);
      }
      v_offsets.push_back(end);
    }
    u = numbers(u_offsets.back(), type, 1, u_bytes);
    v = numbers(v_offsets.back(), type, 2, v_bytes);
    for (float& s : scale = random_floats(std::ssize(scale), 3)) s = std::fabs(s);
    view = {rows,  cols,           type,      row_offsets,    col_offsets, block_offsets, stack_sizes,
            tiles, u_bytes.data(), u_offsets, v_bytes.data(), v_offsets,   scale.data(),  marks.data()};
    rebuild();
  }

  void lay_out_row(index_t i, index_t tile_cols) {
    const index_t height = row_offsets[i + 1] - row_offsets[i];
    index_t block = block_offsets.back();
    for (index_t j = 0; j < tile_cols; ++j) {
      TileLayout& layout = tiles[i * tile_cols + j];
      if (layout.kind == TileKind::pivoted) continue;
      layout.block = block;
      block += layout.size;
      layout.scale = std::ssize(scale);
      if (layout.kind == TileKind::factors) scale.resize(scale.size() + static_cast<std::size_t>(layout.size));
    }
    stack_sizes.push_back(block - block_offsets.back());
    index_t end = u_offsets.back() + height * stack_sizes.back();
    for (index_t j = 0; j < tile_cols; ++j) {
      TileLayout& layout = tiles[i * tile_cols + j];
      if (layout.kind != TileKind::pivoted) continue;
      layout.block = block;
      block += layout.size;
      layout.coefficients = end;
      layout.marks = std::ssize(marks);
      marks.resize(marks.size() + static_cast<std::size_t>(mark_bytes(height)), 0);
      index_t pivots = 0;
      for (index_t r = 0; r < height; ++r) {
        if (pivots == layout.size || (r * 7 + j * 5 + i) % 11 >= 6) continue;
        mark(marks.data() + layout.marks, r);
        ++pivots;
      }
      layout.first_pivot = (layout.size - pivots + 1) / 2;
      end += (height - pivots) * layout.size;
    }
    block_offsets.push_back(block);
    u_offsets.push_back(end);
  }

  static std::vector<float> numbers(index_t n, DType type, unsigned seed, std::vector<std::byte>& bytes) {
    std::vector<float> values = random_floats(n, seed);
    bytes.resize(static_cast<std::size_t>(n * size_of(type)));
    convert(values.data(), DType::f32, bytes.data(), type, n);
    convert(bytes.data(), type, values.data(), DType::f32, n);
    return values;
  }

  /// What row `row` of tile (i, j) multiplies the l-th number of z_ij with.
  double left(index_t i, const TileLayout& tile, index_t row, index_t l) const {
    if (tile.kind != TileKind::pivoted)
      return u[u_offsets[i] + row * stack_sizes[i] + tile.block - block_offsets[i] + l];
    const std::uint8_t* tile_marks = marks.data() + tile.marks;
    const index_t above = count_marks(tile_marks, row);
    if (is_marked(tile_marks, row)) return l == tile.first_pivot + above;
    return u[tile.coefficients + (row - above) * tile.size + l];
  }

  void rebuild() {
    matrix.assign(static_cast<std::size_t>(view.rows * view.cols), 0.0f);
    sizes = matrix;
    for (index_t i = 0; i < view.tile_rows(); ++i) {
      for (index_t j = 0; j < view.tile_cols(); ++j) {
        const TileLayout& tile = view.tile(i, j);
        const index_t width = col_offsets[j + 1] - col_offsets[j];
        std::vector<double> sum(width), size(width);
        for (index_t row = row_offsets[i]; row < row_offsets[i + 1]; ++row) {
          std::fill(sum.begin(), sum.end(), 0.0);
          std::fill(size.begin(), size.end(), 0.0);
          for (index_t l = 0; l < tile.size; ++l) {
            const double factor = left(i, tile, row - row_offsets[i], l) *
                                  (tile.kind == TileKind::factors ? double{scale[tile.scale + l]} : 1.0);
            for (index_t c = 0; c < width; ++c) {
              const double right =
                  tile.kind == TileKind::dense ? l == c : v[v_starts[i * view.tile_cols() + j] + l * width + c];
              sum[c] += factor * right;
              size[c] += std::fabs(factor * right);
            }
          }
          for (index_t c = 0; c < width; ++c) {
            matrix[row * view.cols + col_offsets[j] + c] = static_cast<float>(sum[c]);
            sizes[row * view.cols + col_offsets[j] + c] = static_cast<float>(size[c]);
          }
        }
      }
    }
  }

  std::vector<float> run(int threads, const std::vector<float>& x, index_t tokens) const {
    std::vector<float> y(static_cast<std::size_t>(tokens * view.rows), 5.0f);
    Queue<Device::cpu> queue(threads);
    factored_linear<Device::cpu>(queue, view_of(x, tokens, view.cols), view, view_of(y, tokens, view.rows));
    return y;
  }

  /// Two chained sums, of a tile's width and of a tile row's rank space, are off by at most
  /// (width + length + 3) · eps · Σ |U| s |Vᵀ| |x|; the f32 reference matrix adds eps of the same sum.
  void check(index_t tokens) const {
    SCOPED_TRACE(testing::Message() << tokens << " tokens, " << view.rows << " x " << view.cols << " "
                                    << to_string(view.type));
    const std::vector<float> x = random_floats(tokens * view.cols, 4);
    const std::vector<float> y = run(1, x, tokens);
    const double terms = static_cast<double>(view.cols + view.rank_space() + 4);
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t i = 0; i < view.rows; ++i) {
        double sum = 0, size = 0;
        for (index_t j = 0; j < view.cols; ++j) {
          sum += double{x[t * view.cols + j]} * matrix[i * view.cols + j];
          size += std::fabs(double{x[t * view.cols + j]}) * sizes[i * view.cols + j];
        }
        ASSERT_NEAR(y[t * view.rows + i], sum, terms * tests::eps * size) << t << ", " << i;
      }
    }
    EXPECT_EQ(run(2, x, tokens), y);
    EXPECT_EQ(run(3, x, tokens), y);
  }
};

TEST(FactoredLinear, MatchesTheMatrixItStandsFor) {
  for (DType type : tests::all_types) {
    for (index_t tile : {16, 64, 100}) {
      for (index_t rows : {1, 17, 129, 300}) {
        for (index_t cols : {3, 64, 127}) {
          const RandomFactors w(rows, cols, tile, type,
                                [&](index_t i, index_t j) { return factors((3 * i + 5 * j) % 7); });
          for (index_t tokens : {1, 3, 8, 9, 65}) w.check(tokens);
        }
      }
    }
  }
}

TEST(FactoredLinear, MatchesThePivotedMatrixItStandsFor) {
  for (DType type : tests::all_types) {
    for (index_t tile : {16, 64, 100}) {
      for (index_t rows : {1, 17, 129, 300}) {
        for (index_t cols : {3, 64, 127}) {
          const RandomFactors w(rows, cols, tile, type,
                                [&](index_t i, index_t j) { return pivoted((31 * i + 15 * j) % 47); });
          for (index_t tokens : {1, 3, 8, 9, 65}) w.check(tokens);
        }
      }
    }
  }
}

TEST(FactoredLinear, MixesTilesOfAllKindsAndEmptyOnes) {
  const auto form_of = [](index_t i, index_t j) {
    if (i == 1) return i + j == 3 ? pivoted(0) : factors(0);  // a tile row of no rank
    if (j == 2) return factors(0);                            // a tile column of no rank
    return (i + j) % 3 == 0 ? dense : (i + j) % 3 == 1 ? factors(5 * i + j) : pivoted(9 * i + j + 30);
  };
  for (DType type : tests::all_types) {
    const RandomFactors w(200, 330, 64, type, form_of);
    for (index_t tokens : {1, 2, 33, 600}) w.check(tokens);
  }
}

TEST(FactoredLinear, TakesPivotsWithoutCoefficients) {
  // The one row is a pivot of both tiles.
  const RandomFactors w(1, 50, 32, DType::bf16, [](index_t, index_t) { return pivoted(9); });
  for (index_t tokens : {1, 40}) w.check(tokens);
}

TEST(FactoredLinear, TakesDenseTilesAlone) {
  const RandomFactors w(70, 50, 32, DType::f16, [](index_t, index_t) { return dense; });
  for (index_t tokens : {1, 40}) w.check(tokens);
}

TEST(FactoredLinear, TakesTheWholeMatrixAsOneTile) {
  for (Form form : {factors(250), pivoted(250)}) {
    const RandomFactors w(410, 390, 1000, DType::bf16, [&](index_t, index_t) { return form; });
    for (index_t tokens : {1, 6, 150}) w.check(tokens);
  }
}

TEST(FactoredLinear, SplitsALongRankSpaceOverGroupsOfTileRows) {
  // 24 tile rows of rank space 900 pass the bound on z, so that several groups are worked on.
  const RandomFactors w(24 * 4, 900, 300, DType::f32,
                        [](index_t, index_t j) { return j == 1 ? pivoted(300) : factors(300); });
  const RandomFactors many(20 * 30, 900, 30, DType::f32,
                           [](index_t, index_t j) { return j == 1 ? pivoted(30) : factors(30); });
  w.check(12);
  many.check(12);
}

TEST(FactoredLinear, GivesZerosWhereThereIsNoRank) {
  const RandomFactors w(40, 30, 16, DType::f32, [](index_t, index_t) { return factors(0); });
  for (index_t tokens : {1, 20}) {
    const std::vector<float> x = random_floats(tokens * 30, 1);
    EXPECT_EQ(w.run(2, x, tokens), std::vector<float>(static_cast<std::size_t>(tokens * 40), 0.0f));
  }
}

TEST(FactoredLinear, TakesMatricesWithoutRowsOrColumns) {
  for (index_t tokens : {0, 1, 20}) {
    const RandomFactors no_cols(5, 0, 16, DType::f32, [](index_t, index_t) { return factors(1); });
    EXPECT_EQ(no_cols.run(2, {}, tokens), std::vector<float>(static_cast<std::size_t>(tokens * 5), 0.0f));
    const RandomFactors no_rows(0, 5, 16, DType::f32, [](index_t, index_t) { return factors(1); });
    EXPECT_TRUE(no_rows.run(2, random_floats(tokens * 5, 1), tokens).empty());
  }
}

}  // namespace
}  // namespace hack::kernels
