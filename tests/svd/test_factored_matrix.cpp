#include "svd/factored_matrix.hpp"

#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "svd/compress.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::svd {
namespace {

constexpr index_t m = 50, n = 37;

/// An archive of one random matrix (50, 37) whose tiles have different ranks and kinds.
class FactoredMatrixTest : public ::testing::TestWithParam<CompressOptions> {
 protected:
  void SetUp() override {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (float& x : weights_) x = normal(random);
    const MatrixSource source{"w", m, n, [this](index_t row, index_t col, MatrixView<float> out) {
                                for (index_t i = 0; i < out.rows; ++i) {
                                  for (index_t j = 0; j < out.cols; ++j) out(i, j) = weights_[(row + i) * n + col + j];
                                }
                              }};
    Queue<Device::cpu> queue(1);
    compress(comm::Communicator::self(), queue, std::span(&source, 1), GetParam(), {"0", "0", "{}", "plain", "{}"},
             folder_ / "a.h5");
  }

  /// The archive's matrix rebuilt in double: the slow twin.
  std::vector<double> rebuild(const FactorArchive& archive) const {
    std::vector<double> w(m * n);
    const TileGrid& grid = archive.matrix("w").grid;
    for (index_t i = 0; i < grid.tile_rows(); ++i) {
      const std::vector<StoredTile> tiles = archive.read_tiles("w", i, 0, grid.tile_cols());
      for (index_t j = 0; j < grid.tile_cols(); ++j) {
        const Tile place = grid.tile(i, j);
        const auto* u = reinterpret_cast<const float*>(tiles[j].u.data());
        const auto* v = reinterpret_cast<const float*>(tiles[j].v.data());
        for (index_t r = 0; r < place.height; ++r) {
          for (index_t c = 0; c < place.width; ++c) {
            double& x = w[(place.row + r) * n + place.col + c];
            if (tiles[j].kind == kernels::TileKind::dense) x = u[r * place.width + c];
            for (index_t k = 0; k < tiles[j].rank && tiles[j].kind == kernels::TileKind::factors; ++k) {
              x += static_cast<double>(u[r * tiles[j].rank + k]) * tiles[j].sigma[k] * v[k * place.width + c];
            }
          }
        }
      }
    }
    return w;
  }

  std::vector<float> weights_ = std::vector<float>(m * n);
  hack::testing::TemporaryDirectory folder_;
};

TEST_P(FactoredMatrixTest, MultipliesWithAnyBlockAsTheRebuiltMatrixDoes) {
  const FactorArchive archive(folder_ / "a.h5");
  const std::vector<double> w = rebuild(archive);
  Queue<Device::cpu> queue(2);
  const Range blocks[][2] = {{{0, m}, {0, n}}, {{0, 0}, {0, n}}, {{3, 41}, {0, n}},  {{16, 32}, {0, n}},
                             {{0, m}, {5, 6}}, {{0, m}, {0, 0}}, {{17, 49}, {9, 33}}};
  for (const auto& [rows, cols] : blocks) {
    const FactoredMatrix<Device::cpu> matrix(archive, "w", rows, cols, DType::f32);
    ASSERT_EQ(matrix.rows(), rows.size());
    ASSERT_EQ(matrix.cols(), cols.size());
    for (index_t tokens : {1, 5}) {
      std::vector<float> x(tokens * cols.size()), y(tokens * rows.size(), NAN);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
      kernels::factored_linear<Device::cpu>(queue, MatrixView<const float>(x.data(), tokens, cols.size()),
                                            matrix.view(), MatrixView<float>(y.data(), tokens, rows.size()));
      for (index_t t = 0; t < tokens; ++t) {
        for (index_t i = 0; i < rows.size(); ++i) {
          double expected = 0;
          for (index_t j = 0; j < cols.size(); ++j)
            expected += w[(rows.begin + i) * n + cols.begin + j] * x[t * cols.size() + j];
          // 37 terms of size 1 through two products of up to 37 terms each: 2 * 37 * sqrt(37) * 6e-8 = 3e-5
          ASSERT_NEAR(y[t * rows.size() + i], expected, 3e-5);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, FactoredMatrixTest,
                         ::testing::Values(CompressOptions{TileMode::tile, 16, {RankRule::Kind::topk, 0.3}, DType::f32},
                                           CompressOptions{TileMode::tile, 16, {RankRule::Kind::keep, 0.7}, DType::f32},
                                           CompressOptions{TileMode::tile, 16, {RankRule::Kind::topk, 0}, DType::f32},
                                           CompressOptions{TileMode::tile, 16, {RankRule::Kind::topk, 1}, DType::f32},
                                           CompressOptions{
                                               TileMode::full, 1, {RankRule::Kind::topk, 0.4}, DType::f32}));

}  // namespace
}  // namespace hack::svd
