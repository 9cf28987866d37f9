// Interpolative tiles of the device: any skeleton rows will do whose rows give the tile back with coefficients of at
// most 2.

#include <gtest/gtest.h>

#include "kernels/interpolative.hpp"
#include "tests/gpu/device_data.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::DeviceMatrix;
using tests::in_several_orders;
using tests::random_floats;

constexpr Device G = Device::cuda;

/// A tile U diag(sigma) Vᵀ on the device and its interpolative form.
class Case {
 public:
  Case(index_t h, index_t w, index_t k, std::vector<float> u)
      : h_(h),
        w_(w),
        k_(k),
        u_host_(std::move(u)),
        sigma_host_(random_floats(k, 8)),
        vt_host_(random_floats(k * w, 9)),
        u_(u_host_, h, k),
        sigma_(sigma_host_, 1, k),
        vt_(vt_host_, k, w),
        marks_(mark_bytes(h)),
        skeleton_(k, w),
        coefficients_(h - k, k) {}
  Case(index_t h, index_t w, index_t k) : Case(h, w, k, random_floats(h * k, 7)) {}

  InterpolativeTile<G> tile() {
    return {u_.in(), sigma_.data(), vt_.in(), marks_.data(), skeleton_.view(), coefficients_.view()};
  }

  /// As the CPU's test checks its own; C is exact to 1e-9 in double, U being any matrix.
  void check(const InterpolativeTile<G>& out) const {
    SCOPED_TRACE(testing::Message() << h_ << " x " << w_ << ", rank " << k_);
    ASSERT_EQ(out.status, InterpolativeStatus::ok);
    std::vector<std::uint8_t> marks(static_cast<std::size_t>(mark_bytes(h_)));
    copy_to_host<G>(marks.data(), marks_.data(), marks.size());
    ASSERT_EQ(count_marks(marks.data(), h_), k_);
    ASSERT_EQ(count_marks(marks.data(), 8 * mark_bytes(h_)), k_);
    const std::vector<float> skeleton = skeleton_.host(), coefficients = coefficients_.host();
    float growth = 0;
    for (const float c : coefficients) growth = std::max(growth, std::fabs(c));
    EXPECT_EQ(out.growth, growth);
    EXPECT_LE(growth, static_cast<float>(largest_coefficient));
    index_t skeleton_row = 0, other = 0;
    for (index_t i = 0; i < h_; ++i) {
      const bool is_skeleton = is_marked(marks.data(), i);
      for (index_t j = 0; j < w_; ++j) {
        double expected = 0, sum = 0, size = 0;
        for (index_t l = 0; l < k_; ++l) {
          expected += double{u_host_[i * k_ + l]} * sigma_host_[l] * vt_host_[l * w_ + j];
          const double c = is_skeleton ? l == skeleton_row : coefficients[other * k_ + l];
          sum += c * skeleton[l * w_ + j];
          size += std::fabs(c * skeleton[l * w_ + j]);
        }
        ASSERT_NEAR(sum, expected, 1.05 * tests::eps * size + 1e-9) << i << ", " << j;
      }
      ++(is_skeleton ? skeleton_row : other);
    }
  }

 private:
  index_t h_, w_, k_;
  std::vector<float> u_host_, sigma_host_, vt_host_;
  DeviceMatrix<> u_, sigma_, vt_;
  Buffer<std::uint8_t, G> marks_;
  DeviceMatrix<> skeleton_, coefficients_;
};

void run(std::vector<Case>& cases) {
  std::vector<InterpolativeTile<G>> tiles;
  for (Case& c : cases) tiles.push_back(c.tile());
  Queue<G> queue(1);
  interpolate_tiles<G>(queue, tiles);
  for (std::size_t n = 0; n < cases.size(); ++n) cases[n].check(tiles[n]);
}

TEST(GpuInterpolative, RebuildsTilesOfEveryKind) {
  in_several_orders([] {
    std::vector<Case> cases;
    cases.emplace_back(1, 1, 1);
    cases.emplace_back(1, 9, 0);
    cases.emplace_back(9, 1, 1);
    cases.emplace_back(8, 8, 8);
    cases.emplace_back(23, 40, 11);
    cases.emplace_back(70, 17, 16);
    cases.emplace_back(129, 33, 40);
    run(cases);
  });
}

TEST(GpuInterpolative, TakesRowsThatDependOnOthers) {
  const index_t h = 40, k = 9;
  std::vector<float> u = random_floats(h * k, 3);
  for (index_t i = 0; i < h; ++i) {
    for (index_t l = 0; l < k; ++l) {
      if (l > 5) u[i * k + l] = 2 * u[i * k + l % 3];  // three columns depend
      if (i % 4 == 1) u[i * k + l] = 0;
    }
  }
  std::vector<Case> cases;
  cases.emplace_back(h, 12, k, u);
  cases.emplace_back(h, 12, k, std::vector<float>(static_cast<std::size_t>(h * k)));
  run(cases);
}

TEST(GpuInterpolative, ExchangesRowsUntilNoCoefficientIsLarge) {
  // Kahan's matrix, whose rows in order are what elimination with pivoting takes while coefficients grow.
  const index_t k = 24, h = 30;
  std::vector<float> u(static_cast<std::size_t>(h * k));
  const double c = 0.285, s = 0.9585;
  for (index_t l = 0; l < k; ++l) {
    for (index_t i = 0; i < k; ++i) {
      u[i * k + l] = static_cast<float>(std::pow(s, l) * (i == l ? 1 : i > l ? -c : 0));
    }
    for (index_t i = k; i < h; ++i) u[i * k + l] = static_cast<float>(0.02 * std::pow(s, l) * ((i + l) % 5 - 2.0));
  }
  std::vector<Case> cases;
  cases.emplace_back(h, 10, k, u);
  run(cases);
}

TEST(GpuInterpolative, LeavesTallTilesToTheHost) {
  std::vector<Case> cases;
  cases.emplace_back(260, 5, 6);
  cases.emplace_back(10, 5, 6);
  run(cases);
}

TEST(GpuInterpolative, SeesNumbersThatAreNotFinite) {
  std::vector<float> u = random_floats(20 * 4, 3);
  u[37] = std::numeric_limits<float>::infinity();
  std::vector<Case> cases;
  cases.emplace_back(20, 5, 4, u);
  std::vector<InterpolativeTile<G>> tiles = {cases[0].tile()};
  Queue<G> queue(1);
  interpolate_tiles<G>(queue, tiles);
  EXPECT_EQ(tiles[0].status, InterpolativeStatus::not_finite);
}

}  // namespace
}  // namespace hack::kernels
