#include "kernels/tile_svd.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <lapacke.h>

namespace hack::kernels {
namespace {

/// A tile and room for its factors.
struct Case {
  index_t h, w, r;
  std::vector<float> a;      // (h, w)
  std::vector<float> u;      // (h, r)
  std::vector<float> sigma;  // (r)
  std::vector<float> vt;     // (r, w)

  Case(index_t h_, index_t w_, const std::function<float(index_t, index_t)>& value)
      : h(h_), w(w_), r(std::min(h_, w_)), a(h * w), u(h * r), sigma(r), vt(r * w) {
    for (index_t i = 0; i < h; ++i) {
      for (index_t j = 0; j < w; ++j) a[i * w + j] = value(i, j);
    }
  }
  MatrixView<const float> in() const { return {a.data(), h, w}; }
  TileSvd<Device::cpu> out() { return {{u.data(), h, r}, sigma.data(), {vt.data(), r, w}, SvdStatus::ok}; }
};

SvdStatus factorize(std::vector<Case*> cases, int threads = 2) {
  Queue<Device::cpu> queue(threads);
  std::vector<MatrixView<const float>> in;
  std::vector<TileSvd<Device::cpu>> out;
  for (Case* c : cases) {
    in.push_back(c->in());
    out.push_back(c->out());
  }
  tile_svd<Device::cpu>(queue, in, out);
  return out.front().status;
}

SvdStatus factorize(Case& c) { return factorize({&c}); }

/// Singular values by LAPACK in double, of the same f32 numbers.
std::vector<double> reference_spectrum(const Case& c) {
  std::vector<double> a(c.a.begin(), c.a.end());
  std::vector<double> s(c.r), superb(c.r);
  double none = 0;
  const auto info =
      LAPACKE_dgesvd(LAPACK_ROW_MAJOR, 'N', 'N', static_cast<lapack_int>(c.h), static_cast<lapack_int>(c.w), a.data(),
                     static_cast<lapack_int>(c.w), s.data(), &none, 1, &none, 1, superb.data());
  EXPECT_EQ(info, 0);
  return s;
}

/// The gates of an f32 decomposition, measured in double. LAPACK bounds each error by p(n) eps with a modest p; for
/// n = 128, measured values are near 1e-6, or 10 eps; the gates leave a factor of five: 6e-8 * (16 + n/2).
void expect_decomposition(Case& c, const std::string& what) {
  SCOPED_TRACE(what + " " + std::to_string(c.h) + "x" + std::to_string(c.w));
  ASSERT_EQ(factorize(c), SvdStatus::ok);
  const double gate = 6e-8 * (16 + 0.5 * static_cast<double>(std::max(c.h, c.w)));
  double norm = 0, error = 0, not_orthonormal = 0;
  for (index_t i = 0; i < c.h; ++i) {
    for (index_t j = 0; j < c.w; ++j) {
      double sum = 0;
      for (index_t k = 0; k < c.r; ++k) sum += double{c.u[i * c.r + k]} * c.sigma[k] * c.vt[k * c.w + j];
      error += std::pow(c.a[i * c.w + j] - sum, 2);
      norm += std::pow(double{c.a[i * c.w + j]}, 2);
    }
  }
  for (index_t k = 0; k < c.r; ++k) {
    for (index_t l = 0; l <= k; ++l) {
      double uu = 0, vv = 0;
      for (index_t i = 0; i < c.h; ++i) uu += double{c.u[i * c.r + k]} * c.u[i * c.r + l];
      for (index_t j = 0; j < c.w; ++j) vv += double{c.vt[k * c.w + j]} * c.vt[l * c.w + j];
      const double target = k == l ? 1.0 : 0.0;
      not_orthonormal = std::max({not_orthonormal, std::fabs(uu - target), std::fabs(vv - target)});
    }
  }
  EXPECT_LE(std::sqrt(error), gate * std::sqrt(norm));
  EXPECT_LE(not_orthonormal, gate);
  const std::vector<double> expected = reference_spectrum(c);
  for (index_t k = 0; k < c.r; ++k) {
    EXPECT_LE(std::fabs(c.sigma[k] - expected[k]), gate * expected[0]) << "sigma " << k;
    EXPECT_GE(c.sigma[k], 0.0f);
    EXPECT_LE(c.sigma[k], c.sigma[std::max<index_t>(k - 1, 0)]);
  }
}

/// Normal numbers, the same for the same seed.
std::function<float(index_t, index_t)> gaussian(unsigned seed, float scale = 1) {
  return [engine = std::mt19937(seed), normal = std::normal_distribution<float>(), scale](index_t, index_t) mutable {
    return scale * normal(engine);
  };
}

/// Σ_k s_k x_k y_kᵀ with x_k, y_k columns of cosine matrices, which are orthogonal.
std::function<float(index_t, index_t)> with_spectrum(index_t n, std::function<double(index_t)> s, index_t terms) {
  const auto cosine = [n](index_t i, index_t k) {
    return std::sqrt((k == 0 ? 1.0 : 2.0) / static_cast<double>(n)) *
           std::cos(M_PI * (static_cast<double>(i) + 0.5) * static_cast<double>(k) / static_cast<double>(n));
  };
  return [=](index_t i, index_t j) {
    double sum = 0;
    for (index_t k = 0; k < terms; ++k) sum += s(k) * cosine(i, k) * cosine(j, (k * 7 + 3) % n);
    return static_cast<float>(sum);
  };
}

TEST(TileSvd, FactorizesAllShapes) {
  const index_t sizes[] = {1, 2, 3, 17, 64, 128, 200, 256};
  unsigned seed = 1;
  for (index_t h : sizes) {
    for (index_t w : sizes) {
      Case c(h, w, gaussian(seed++));
      expect_decomposition(c, "gaussian");
    }
  }
}

TEST(TileSvd, FactorizesDifficultFamilies) {
  const index_t n = 128;
  const std::pair<const char*, std::function<float(index_t, index_t)>> families[] = {
      {"geometric 1e4", with_spectrum(
                            n, [](index_t k) { return std::pow(1e-4, k / 127.0); }, n)},
      {"geometric 1e8", with_spectrum(
                            n, [](index_t k) { return std::pow(1e-8, k / 127.0); }, n)},
      {"rank 1", with_spectrum(
                     n, [](index_t) { return 1.0; }, 1)},
      {"rank 32", with_spectrum(
                      n, [](index_t) { return 1.0; }, 32)},
      {"all equal", with_spectrum(
                        n, [](index_t) { return 1.0; }, n)},
      {"identity", [](index_t i, index_t j) { return i == j ? 1.0f : 0.0f; }},
      {"diagonal", [](index_t i, index_t j) { return i == j ? static_cast<float>((i * 37) % 128) - 64 : 0.0f; }},
      {"ones", [](index_t, index_t) { return 1.0f; }},
      {"equal columns",
       [g = gaussian(5)](index_t i, index_t j) mutable { return j % 2 ? std::sin(float(i)) : g(i, j); }},
      {"outlier column",
       [g = gaussian(6)](index_t i, index_t j) mutable { return (j == 9 ? 1000.0f : 1.0f) * g(i, j); }},
      {"bf16", [g = gaussian(7)](index_t i, index_t j) mutable { return to_float(to_bf16(g(i, j))); }},
      {"f16 subnormals", [g = gaussian(8)](index_t i, index_t j) mutable { return to_float(to_f16(1e-6f * g(i, j))); }},
      {"1e-30", gaussian(9, 1e-30f)},
      {"1e30", gaussian(10, 1e30f)},
  };
  for (const auto& [name, value] : families) {
    Case c(n, n, value);
    expect_decomposition(c, name);
  }
}

TEST(TileSvd, KnowsSmallCasesByHand) {
  Case c(2, 3, [](index_t i, index_t j) { return i == j ? (i == 0 ? 3.0f : -4.0f) : 0.0f; });
  ASSERT_EQ(factorize(c), SvdStatus::ok);
  EXPECT_FLOAT_EQ(c.sigma[0], 4.0f);
  EXPECT_FLOAT_EQ(c.sigma[1], 3.0f);
  EXPECT_FLOAT_EQ(c.u[1 * 2 + 0] * c.vt[0 * 3 + 1], -1.0f);  // u_1 = ± e_1, v_1 = ∓ e_1
  EXPECT_FLOAT_EQ(c.u[0 * 2 + 1] * c.vt[1 * 3 + 0], 1.0f);
}

TEST(TileSvd, GivesZeroTilesUnitVectors) {
  for (auto [h, w] : {std::pair<index_t, index_t>{5, 8}, {8, 5}, {1, 1}}) {
    Case c(h, w, [](index_t, index_t) { return 0.0f; });
    expect_decomposition(c, "zero");
    EXPECT_EQ(c.sigma, std::vector<float>(c.r, 0.0f));
  }
}

TEST(TileSvd, FactorizesSubnormalTiles) {
  Case c(4, 4,
         [](index_t i, index_t j) { return i == j ? std::numeric_limits<float>::denorm_min() * float(i + 1) : 0.0f; });
  ASSERT_EQ(factorize(c), SvdStatus::ok);
  for (int k = 0; k < 4; ++k) EXPECT_EQ(c.sigma[k], std::numeric_limits<float>::denorm_min() * float(4 - k));
}

TEST(TileSvd, ReportsWhatIsNotFinite) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    Case good(8, 8, gaussian(1));
    Case c(8, 8, [&](index_t i, index_t j) { return i == 3 && j == 5 ? bad : 1.0f; });
    Queue<Device::cpu> queue(1);
    std::vector<MatrixView<const float>> in = {good.in(), c.in()};
    std::vector<TileSvd<Device::cpu>> out = {good.out(), c.out()};
    tile_svd<Device::cpu>(queue, in, out);
    EXPECT_EQ(out[0].status, SvdStatus::ok);
    EXPECT_EQ(out[1].status, SvdStatus::not_finite);
  }
  // The largest singular value of this tile is 4 * 3e38: no float.
  Case large(4, 4, [](index_t, index_t) { return 3e38f; });
  EXPECT_EQ(factorize(large), SvdStatus::not_finite);
}

TEST(TileSvd, ATilesBitsDependOnTheTileAlone) {
  const auto make = [] { return Case(96, 57, gaussian(11)); };
  Case alone = make();
  factorize({&alone}, 1);
  for (int threads : {1, 2, 5}) {
    std::vector<Case> batch;
    for (unsigned seed = 0; seed < 12; ++seed) batch.emplace_back(20 + 17 * seed, 230 - 19 * seed, gaussian(seed));
    batch.insert(batch.begin() + 7, make());
    batch.push_back(make());
    std::vector<Case*> pointers;
    for (Case& c : batch) pointers.push_back(&c);
    factorize(pointers, threads);
    for (const Case* c : {&batch[7], &batch.back()}) {
      EXPECT_EQ(c->u, alone.u);
      EXPECT_EQ(c->sigma, alone.sigma);
      EXPECT_EQ(c->vt, alone.vt);
    }
  }
}

TEST(TileSvd, ReadsAndWritesWithinTheirLeadingDimensions) {
  Case c(6, 4, gaussian(3));
  factorize(c);
  std::vector<float> wide(6 * 9, -7.0f), u(6 * 5, -7.0f), vt(4 * 11, -7.0f), sigma(4);
  for (index_t i = 0; i < 6; ++i) std::copy_n(&c.a[i * 4], 4, &wide[i * 9 + 2]);
  const MatrixView<const float> in[] = {{wide.data() + 2, 6, 4, 9}};
  TileSvd<Device::cpu> out[] = {{{u.data(), 6, 4, 5}, sigma.data(), {vt.data(), 4, 4, 11}, SvdStatus::ok}};
  Queue<Device::cpu> queue(1);
  tile_svd<Device::cpu>(queue, in, out);
  EXPECT_EQ(sigma, c.sigma);
  for (index_t i = 0; i < 6; ++i) {
    EXPECT_TRUE(std::equal(&c.u[i * 4], &c.u[i * 4] + 4, &u[i * 5]));
    EXPECT_EQ(u[i * 5 + 4], -7.0f);
  }
  for (index_t i = 0; i < 4; ++i) EXPECT_TRUE(std::equal(&c.vt[i * 4], &c.vt[i * 4] + 4, &vt[i * 11]));
  EXPECT_EQ(vt[4], -7.0f);
}

TEST(TileProduct, IsTheBestApproximationOfItsRank) {
  Case c(48, 80, gaussian(21));
  ASSERT_EQ(factorize(c), SvdStatus::ok);
  Queue<Device::cpu> queue(2);
  for (index_t k : {index_t{0}, index_t{1}, index_t{20}, index_t{48}}) {
    std::vector<float> product(48 * 80, -7.0f);
    const TileSvd<Device::cpu> svd[] = {c.out()};
    const MatrixView<float> out[] = {{product.data(), 48, 80}};
    const index_t ranks[] = {k};
    tile_product<Device::cpu>(queue, svd, ranks, out);
    double error = 0, tail = 0, norm = 0;
    for (std::size_t i = 0; i < product.size(); ++i) error += std::pow(double{c.a[i]} - product[i], 2);
    for (index_t i = 0; i < 48; ++i) norm += std::pow(double{c.sigma[i]}, 2);
    for (index_t i = k; i < 48; ++i) tail += std::pow(double{c.sigma[i]}, 2);
    // Eckart-Young: the error is the energy of the tail; rounding adds about (n eps)² of the norm and shifts the rest.
    EXPECT_NEAR(error, tail, 1e-5 * tail + 1e-10 * norm) << "rank " << k;
  }
}

}  // namespace
}  // namespace hack::kernels
