#include "svd/factored_matrix.hpp"

#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "kernels/tile_svd.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/pipeline/compress.hpp"
#include "svd/tile/tile_encoder.hpp"
#include "tests/support/stored_tile.hpp"
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
    compress(comm::Communicator::self(), queue, std::span(&source, 1), GetParam(),
             {{"0", "0", "{}", "plain", "{}"}, folder_ / "a.h5"});
  }

  /// The archive's matrix rebuilt in double: the slow twin.
  std::vector<double> rebuild(const FactorArchive& archive) const {
    std::vector<double> w(m * n);
    const TileGrid& grid = archive.matrix("w").grid;
    for (index_t t = 0; t < grid.size(); ++t) {
      const Tile place = grid.tile(t);
      const StoredTile tile = archive.read_tiles("w", place.i, place.j, place.j + 1)[0];
      const std::vector<double> values = hack::testing::values_of(tile, place);
      for (index_t r = 0; r < place.height; ++r) {
        std::copy_n(values.data() + r * place.width, place.width, w.data() + (place.row + r) * n + place.col);
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
      kernels::factored_sum<Device::cpu>(queue, MatrixView<const float>(x.data(), tokens, cols.size()), matrix.planes(),
                                         MatrixView<float>(y.data(), tokens, rows.size()));
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

std::vector<CompressOptions> all_options() {
  std::vector<CompressOptions> options;
  for (Structure storage : {Structure::interpolative, Structure::low_rank}) {
    for (const RankRule& rule : {RankRule{RankRule::Kind::topk, 0.3},
                                 {RankRule::Kind::keep, 0.7},
                                 {RankRule::Kind::topk, 0},
                                 {RankRule::Kind::topk, 1}}) {
      options.push_back({TileMode::tile, 16, rule, Codec::f32, storage});
    }
    options.push_back({TileMode::full, 1, {RankRule::Kind::topk, 0.4}, Codec::f32, storage});
  }
  return options;
}

INSTANTIATE_TEST_SUITE_P(Options, FactoredMatrixTest, ::testing::ValuesIn(all_options()));

/// y = W x from an archive that holds one tile of the given kind and rank.
std::vector<float> product(const MatrixView<const float>& w, kernels::Structure kind, index_t rank, index_t tokens) {
  const hack::testing::TemporaryDirectory folder;
  Queue<Device::cpu> queue(1);
  const index_t r = std::min(w.rows, w.cols);
  std::vector<float> u(w.rows * r), sigma(r), vt(r * w.cols);
  kernels::TileSvd<Device::cpu> svd{{u.data(), w.rows, r}, sigma.data(), {vt.data(), r, w.cols}};
  kernels::tile_svd<Device::cpu>(queue, std::span(&w, 1), std::span(&svd, 1));
  MatrixPart part{.name = "w", .grid = TileGrid(w.rows, w.cols, w.rows, w.cols)};
  const TileChoice choice{kind, static_cast<std::int32_t>(rank), 1.0, 0.0};
  const TileNumbers numbers{w, svd.u, sigma.data(), svd.vt, sigma};
  append_tiles(queue, part, std::span(&choice, 1), std::span(&numbers, 1), Codec::f32);
  {
    const comm::Communicator self = comm::Communicator::self();
    FactorArchiveWriter writer(self, folder / "a.h5", {{}, {TileMode::full, 1, {}, Codec::f32}});
    writer.write(part);
    writer.finish();
  }
  const FactorArchive archive(folder / "a.h5");
  const FactoredMatrix<Device::cpu> matrix(archive, "w", {0, w.rows}, {0, w.cols}, DType::f32);
  std::vector<float> x(tokens * w.cols), y(tokens * w.rows);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  kernels::factored_sum<Device::cpu>(queue, MatrixView<const float>(x.data(), tokens, w.cols), matrix.planes(),
                                     MatrixView<float>(y.data(), tokens, w.rows));
  return y;
}

TEST(FactoredMatrix, InterpolationAndTwoFactorsAgreeForEveryRank) {
  for (const auto& [rows, cols] : {std::pair<index_t, index_t>{17, 12}, {9, 21}, {16, 16}}) {
    std::vector<float> w(rows * cols);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = std::sin(static_cast<float>(i * i));
    for (index_t rank = 0; rank <= std::min(rows, cols); ++rank) {
      for (index_t tokens : {1, 9}) {
        const MatrixView<const float> view(w.data(), rows, cols);
        const std::vector<float> factors = product(view, kernels::Structure::low_rank, rank, tokens);
        const std::vector<float> interpolative = product(view, kernels::Structure::interpolative, rank, tokens);
        // Sums of at most 21 terms of size 4, of rank at most 16 with coefficients up to 2, of numbers of size 1, each
        // rounded a few times: 3 * 2 * 4 * sqrt(16 * 21) * 6e-8 = 3e-5
        for (std::size_t i = 0; i < factors.size(); ++i) ASSERT_NEAR(interpolative[i], factors[i], 3e-5) << rank;
      }
    }
  }
}

}  // namespace
}  // namespace hack::svd
