#include "kernels/factored_linear.hpp"

#include <cstring>

#include <gtest/gtest.h>

#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;
using tests::view_of;

/// A factored matrix of random tiles, and what owns its memory.
struct RandomFactors {
  std::vector<index_t> row_offsets{0}, col_offsets{0}, block_offsets{0}, u_offsets{0}, v_offsets{0};
  std::vector<TileKind> kinds;
  std::vector<float> u, v, scale;
  std::vector<std::byte> u_bytes, v_bytes;
  std::vector<float> matrix;  // (rows, cols): Σ U s Vᵀ, in f32 of f64 sums
  std::vector<float> sizes;   // (rows, cols): Σ |U| s |Vᵀ|
  FactoredView<Device::cpu> view;

  /// `rank_of(i, j)` is the rank of tile (i, j), or -1 for a dense one.
  template <class F>
  RandomFactors(index_t rows, index_t cols, index_t tile, DType type, F rank_of) {
    for (index_t i = tile; i < rows + tile && rows > 0; i += tile) row_offsets.push_back(std::min(i, rows));
    for (index_t j = tile; j < cols + tile && cols > 0; j += tile) col_offsets.push_back(std::min(j, cols));
    const index_t tile_rows = std::ssize(row_offsets) - 1, tile_cols = std::ssize(col_offsets) - 1;
    for (index_t i = 0; i < tile_rows; ++i) {
      for (index_t j = 0; j < tile_cols; ++j) {
        const index_t rank = rank_of(i, j);
        kinds.push_back(rank < 0 ? TileKind::dense : TileKind::factors);
        block_offsets.push_back(block_offsets.back() + (rank < 0 ? col_offsets[j + 1] - col_offsets[j] : rank));
      }
      const index_t length = block_offsets.back() - block_offsets[i * tile_cols];
      u_offsets.push_back(u_offsets.back() + length * (row_offsets[i + 1] - row_offsets[i]));
    }
    for (index_t j = 0; j < tile_cols; ++j) {
      index_t height = 0;
      for (index_t i = 0; i < tile_rows; ++i) {
        if (kinds[i * tile_cols + j] == TileKind::factors) height += rank(i * tile_cols + j);
      }
      v_offsets.push_back(v_offsets.back() + height * (col_offsets[j + 1] - col_offsets[j]));
    }
    u = numbers(u_offsets.back(), type, 1, u_bytes);
    v = numbers(v_offsets.back(), type, 2, v_bytes);
    scale = random_floats(block_offsets.back(), 3);
    for (std::size_t index = 0; index < kinds.size(); ++index) {
      for (index_t r = block_offsets[index]; r < block_offsets[index + 1]; ++r) {
        scale[r] = kinds[index] == TileKind::dense ? 1.0f : std::fabs(scale[r]);
      }
    }
    view = {rows,  cols,           type,      row_offsets,    col_offsets, block_offsets,
            kinds, u_bytes.data(), u_offsets, v_bytes.data(), v_offsets,   scale.data()};
    rebuild();
  }

  index_t rank(index_t index) const { return block_offsets[index + 1] - block_offsets[index]; }

  static std::vector<float> numbers(index_t n, DType type, unsigned seed, std::vector<std::byte>& bytes) {
    std::vector<float> values = random_floats(n, seed);
    bytes.resize(static_cast<std::size_t>(n * size_of(type)));
    convert(values.data(), DType::f32, bytes.data(), type, n);
    convert(bytes.data(), type, values.data(), DType::f32, n);
    return values;
  }

  void rebuild() {
    matrix.assign(static_cast<std::size_t>(view.rows * view.cols), 0.0f);
    sizes = matrix;
    for (index_t j = 0; j < view.tile_cols(); ++j) {
      index_t v_row = 0;
      const index_t width = col_offsets[j + 1] - col_offsets[j];
      for (index_t i = 0; i < view.tile_rows(); ++i) {
        const index_t index = i * view.tile_cols() + j;
        const index_t start = block_offsets[i * view.tile_cols()];
        const index_t length = block_offsets[(i + 1) * view.tile_cols()] - start;
        for (index_t row = row_offsets[i]; row < row_offsets[i + 1]; ++row) {
          const float* left = u.data() + u_offsets[i] + (row - row_offsets[i]) * length + block_offsets[index] - start;
          for (index_t c = 0; c < width; ++c) {
            double sum = 0, size = 0;
            for (index_t r = 0; r < rank(index); ++r) {
              const bool dense = kinds[index] == TileKind::dense;
              const double right = dense ? (r == c) : v[v_offsets[j] + (v_row + r) * width + c];
              const double term = left[r] * scale[block_offsets[index] + r] * right;
              sum += term;
              size += std::fabs(term);
            }
            matrix[row * view.cols + col_offsets[j] + c] = static_cast<float>(sum);
            sizes[row * view.cols + col_offsets[j] + c] = static_cast<float>(size);
          }
        }
        if (kinds[index] == TileKind::factors) v_row += rank(index);
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
          const RandomFactors w(rows, cols, tile, type, [&](index_t i, index_t j) { return (3 * i + 5 * j) % 7; });
          for (index_t tokens : {1, 3, 8, 9, 65}) w.check(tokens);
        }
      }
    }
  }
}

TEST(FactoredLinear, MixesDenseFactoredAndEmptyTiles) {
  const RandomFactors w(200, 330, 64, DType::bf16, [](index_t i, index_t j) -> index_t {
    if (i == 1) return 0;  // a tile row of no rank
    if (j == 2) return 0;  // a tile column of no rank
    return (i + j) % 3 == 0 ? -1 : 5 * i + j;
  });
  for (index_t tokens : {1, 2, 33, 600}) w.check(tokens);
}

TEST(FactoredLinear, TakesDenseTilesAlone) {
  const RandomFactors w(70, 50, 32, DType::f16, [](index_t, index_t) { return -1; });
  for (index_t tokens : {1, 40}) w.check(tokens);
}

TEST(FactoredLinear, TakesTheWholeMatrixAsOneTile) {
  const RandomFactors w(410, 390, 1000, DType::bf16, [](index_t, index_t) { return 250; });
  for (index_t tokens : {1, 6, 150}) w.check(tokens);
}

TEST(FactoredLinear, SplitsALongRankSpaceOverGroupsOfTileRows) {
  // 24 tile rows of rank space 900 pass the bound on z, so that several groups are worked on.
  const RandomFactors w(24 * 4, 900, 300, DType::f32, [](index_t, index_t) { return 300; });
  const RandomFactors many(20 * 30, 900, 30, DType::f32, [](index_t, index_t) { return 30; });
  w.check(12);
  many.check(12);
}

TEST(FactoredLinear, GivesZerosWhereThereIsNoRank) {
  const RandomFactors w(40, 30, 16, DType::f32, [](index_t, index_t) { return 0; });
  for (index_t tokens : {1, 20}) {
    const std::vector<float> x = random_floats(tokens * 30, 1);
    EXPECT_EQ(w.run(2, x, tokens), std::vector<float>(static_cast<std::size_t>(tokens * 40), 0.0f));
  }
}

TEST(FactoredLinear, TakesMatricesWithoutRowsOrColumns) {
  for (index_t tokens : {0, 1, 20}) {
    const RandomFactors no_cols(5, 0, 16, DType::f32, [](index_t, index_t) { return 1; });
    EXPECT_EQ(no_cols.run(2, {}, tokens), std::vector<float>(static_cast<std::size_t>(tokens * 5), 0.0f));
    const RandomFactors no_rows(0, 5, 16, DType::f32, [](index_t, index_t) { return 1; });
    EXPECT_TRUE(no_rows.run(2, random_floats(tokens * 5, 1), tokens).empty());
  }
}

}  // namespace
}  // namespace hack::kernels
