#include "kernels/interpolative.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "kernels/tile_svd.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;
using tests::view_of;

/// Factors of a tile (h, w), and the interpolative form of what its first k singular values make.
struct Case {
  index_t h, w, k;
  std::vector<float> u, sigma, vt;  // (h, k), (k), (k, w)
  std::vector<std::uint8_t> marks;
  std::vector<float> skeleton, coefficients;  // (k, w), (h - k, k)

  Case(index_t rows, index_t cols, index_t rank)
      : h(rows),
        w(cols),
        k(rank),
        u(static_cast<std::size_t>(h * k)),
        sigma(static_cast<std::size_t>(k)),
        vt(static_cast<std::size_t>(k * w)),
        marks(static_cast<std::size_t>(mark_bytes(h)), 0xee),
        skeleton(static_cast<std::size_t>(k * w)),
        coefficients(static_cast<std::size_t>((h - k) * k)) {}

  InterpolativeTile<Device::cpu> tile() {
    return {view_of(std::as_const(u), h, k),  sigma.data(),
            view_of(std::as_const(vt), k, w), marks.data(),
            view_of(skeleton, k, w),          view_of(coefficients, h - k, k)};
  }

  InterpolativeTile<Device::cpu> run(int threads = 1) {
    std::vector<InterpolativeTile<Device::cpu>> tiles = {tile()};
    Queue<Device::cpu> queue(threads);
    interpolate_tiles<Device::cpu>(queue, tiles);
    return tiles[0];
  }

  /// Rows are skeleton rows or their coefficients' product. Skeleton rows are rounded once; so are coefficients and
  /// skeleton rows in a product, which is off by at most 2.1 · (eps / 2) Σ |C| |P|. C itself is exact to 1e-12, U being
  /// so.
  void check(const InterpolativeTile<Device::cpu>& out) const {
    ASSERT_EQ(out.status, InterpolativeStatus::ok);
    ASSERT_EQ(count_marks(marks.data(), h), k);
    ASSERT_EQ(count_marks(marks.data(), 8 * mark_bytes(h)), k);
    EXPECT_LE(out.growth, static_cast<float>(largest_coefficient));
    float growth = 0;
    for (float c : coefficients) growth = std::max(growth, std::fabs(c));
    EXPECT_EQ(out.growth, growth);
    double norm = 0;
    for (float s : sigma) norm = std::max(norm, double{s});
    index_t skeleton_row = 0, other = 0;
    for (index_t i = 0; i < h; ++i) {
      const bool is_skeleton = is_marked(marks.data(), i);
      for (index_t j = 0; j < w; ++j) {
        double expected = 0, sum = 0, size = 0;
        for (index_t l = 0; l < k; ++l) {
          expected += double{u[i * k + l]} * sigma[l] * vt[l * w + j];
          const double c = is_skeleton ? l == skeleton_row : coefficients[other * k + l];
          sum += c * skeleton[l * w + j];
          size += std::fabs(c * skeleton[l * w + j]);
        }
        ASSERT_NEAR(sum, expected, 1.05 * tests::eps * size + 1e-12 * norm) << i << ", " << j;
      }
      ++(is_skeleton ? skeleton_row : other);
    }
  }
};

/// The first k singular values of a random tile, or of one whose rows and columns repeat.
std::vector<Case> cases(index_t h, index_t w, index_t distinct) {
  const std::vector<float> random = random_floats(h * w, 7);
  std::vector<float> values(random.size());
  for (index_t i = 0; i < h; ++i) {
    for (index_t j = 0; j < w; ++j) values[i * w + j] = random[i % distinct * w + j % distinct];
  }
  const index_t r = std::min(h, w);
  std::vector<float> u(static_cast<std::size_t>(h * r)), sigma(static_cast<std::size_t>(r)),
      vt(static_cast<std::size_t>(r * w));
  const MatrixView<const float> in = view_of(std::as_const(values), h, w);
  TileSvd<Device::cpu> out{view_of(u, h, r), sigma.data(), view_of(vt, r, w)};
  Queue<Device::cpu> queue(1);
  tile_svd<Device::cpu>(queue, std::span(&in, 1), std::span(&out, 1));
  std::vector<Case> result;
  for (index_t k = 0; k <= r; ++k) {
    Case next(h, w, k);
    for (index_t i = 0; i < h; ++i) std::copy_n(out.u.row(i), k, next.u.data() + i * k);
    std::copy_n(sigma.data(), k, next.sigma.data());
    std::copy_n(vt.data(), k * w, next.vt.data());
    result.push_back(std::move(next));
  }
  return result;
}

TEST(Pivot, RebuildsTilesOfEveryRank) {
  for (const auto& [h, w] : {std::pair<index_t, index_t>{1, 1}, {1, 9}, {9, 1}, {8, 8}, {23, 40}, {41, 17}, {64, 64}}) {
    for (Case& c : cases(h, w, 1000)) {
      SCOPED_TRACE(testing::Message() << h << " x " << w << ", rank " << c.k);
      c.check(c.run());
    }
  }
}

TEST(Pivot, RebuildsTilesWhoseSingularValuesAreZero) {
  for (Case& c : cases(24, 30, 5)) {
    for (index_t l = 5; l < c.k; ++l) c.sigma[l] = 0;
    SCOPED_TRACE(testing::Message() << "rank " << c.k);
    c.check(c.run());
  }
}

TEST(Pivot, TakesColumnsThatDependOnEachOther) {
  Case c(20, 15, 6);
  c.u = random_floats(20 * 6, 1);
  c.sigma = {4, 3, 2, 1, 1, 1};
  c.vt = random_floats(6 * 15, 2);
  for (index_t i = 0; i < 20; ++i) {
    c.u[i * 6 + 3] = c.u[i * 6 + 1];
    c.u[i * 6 + 4] = 0;
  }
  c.check(c.run());
  std::fill(c.u.begin(), c.u.end(), 0.0f);
  c.check(c.run());
  EXPECT_EQ(c.coefficients, std::vector<float>(14 * 6, 0.0f));
}

/// Kahan's matrix: QR with column pivoting changes nothing in it, and leaves coefficients of 1.28^38.
TEST(Pivot, ExchangesRowsUntilCoefficientsAreBounded) {
  const index_t k = 40, h = 48;
  Case c(h, 50, k);
  const double cosine = 0.285, sine = std::sqrt(1 - cosine * cosine);
  for (index_t i = 0; i < h; ++i) {
    for (index_t l = 0; l < k; ++l) {
      const double shrink = std::pow(sine, l) * (1 - 1e-5 * static_cast<double>(i));
      c.u[i * k + l] = static_cast<float>(i < l ? 0 : i == l ? shrink : -cosine * shrink);
    }
  }
  std::fill(c.sigma.begin(), c.sigma.end(), 1.0f);
  c.vt = random_floats(k * 50, 3);
  // Without exchanges rows 0 to 39 would be the skeleton rows.
  c.check(c.run());
  EXPECT_LT(count_marks(c.marks.data(), k), k);
}

TEST(Pivot, MarksTheRowsOfAUnitMatrix) {
  Case c(11, 4, 3);
  const index_t rows[] = {2, 8, 10};
  for (index_t l = 0; l < 3; ++l) c.u[rows[l] * 3 + l] = 1;
  c.sigma = {3, 2, 1};
  c.vt = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
  EXPECT_EQ(c.run().growth, 0);
  EXPECT_EQ(c.marks, (std::vector<std::uint8_t>{0b100, 0b101}));
  EXPECT_EQ(c.skeleton, (std::vector<float>{3, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(c.coefficients, std::vector<float>(24, 0.0f));
}

TEST(Pivot, GivesTheSameBitsInAnyBatchOnAnyNumberOfThreads) {
  std::vector<Case> alone = cases(33, 21, 1000), together = alone;
  for (Case& c : alone) c.run();
  for (int threads : {1, 3}) {
    std::vector<InterpolativeTile<Device::cpu>> tiles;
    for (Case& c : together) tiles.insert(tiles.begin(), c.tile());
    Queue<Device::cpu> queue(threads);
    interpolate_tiles<Device::cpu>(queue, tiles);
    for (std::size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(together[i].marks, alone[i].marks);
      EXPECT_EQ(together[i].skeleton, alone[i].skeleton);
      EXPECT_EQ(together[i].coefficients, alone[i].coefficients);
    }
  }
}

TEST(Pivot, SaysWhatIsNotFinite) {
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()};
  for (float value : bad) {
    for (int where = 0; where < 3; ++where) {
      Case c = cases(6, 5, 1000)[3];
      (where == 0 ? c.u : where == 1 ? c.sigma : c.vt)[2] = value;
      EXPECT_EQ(c.run().status, InterpolativeStatus::not_finite);
    }
  }
  Case large = cases(6, 5, 1000)[3];
  std::fill(large.sigma.begin(), large.sigma.end(), 3e38f);
  for (float& x : large.vt) x *= 100;
  EXPECT_EQ(large.run().status, InterpolativeStatus::not_finite);
}

TEST(RowMarks, AreCounted) {
  std::vector<std::uint8_t> marks(20, 0);
  for (index_t row = 0; row < 150; row += 3) mark(marks.data(), row);
  for (index_t rows = 0; rows <= 160; ++rows) {
    EXPECT_EQ(count_marks(marks.data(), rows), std::min<index_t>((rows + 2) / 3, 50));
  }
}

}  // namespace
}  // namespace hack::kernels
