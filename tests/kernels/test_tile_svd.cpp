#include "kernels/tile_svd.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/tile_case.hpp"

namespace hack::kernels {
namespace {

using tests::expect_decompositions;
using tests::factorize;
using tests::gaussian;
using tests::Value;
using tests::with_spectrum;
using Case = tests::TileCase;

TEST(TileSvd, FactorizesAllShapes) {
  const index_t sizes[] = {1, 2, 3, 17, 64, 128, 200, 256};
  unsigned seed = 1;
  for (index_t h : sizes) {
    for (index_t w : sizes) {
      Case c(h, w, gaussian(seed++));
      expect_decompositions(c, "gaussian", {0, 1, c.r / 3, c.r});
    }
  }
}

TEST(TileSvd, FactorizesEdgeTilesInBf16) {
  unsigned seed = 100;
  for (auto [h, w] : {std::pair<index_t, index_t>{128, 37}, {37, 128}, {16, 15}, {31, 33}, {5, 250}, {250, 5}}) {
    Case c(h, w, [g = gaussian(seed++)](index_t i, index_t j) mutable { return to_float(to_bf16(g(i, j))); });
    expect_decompositions(c, "bf16", {0, 1, c.r / 2, c.r});
  }
}

TEST(TileSvd, FactorizesLargeMatrices) {
  Case wide(264, 270, gaussian(200)), tall(290, 257, gaussian(201));
  expect_decompositions(wide, "gaussian", {5, 264});
  expect_decompositions(tall, "gaussian", {0, 129});
  const index_t n = 257;
  const auto geometric = [](double condition) {
    return [condition](index_t k) { return std::pow(condition, -static_cast<double>(k) / (n - 1)); };
  };
  const std::pair<const char*, Value> families[] = {
      {"condition 1e8", with_spectrum(n, geometric(1e8), n)},
      {"rank 20", with_spectrum(
                      n, [](index_t) { return 1.0; }, 20)},
      {"identity", [](index_t i, index_t j) { return i == j ? 1.0f : 0.0f; }},
      {"zero", [](index_t, index_t) { return 0.0f; }}};
  for (const auto& [name, value] : families) {
    Case c(n, n, value);
    expect_decompositions(c, name, {7, 150});
  }
}

TEST(TileSvd, FactorizesDifficultFamilies) {
  const index_t n = 128;
  const auto geometric = [n](double condition) {
    return with_spectrum(
        n, [condition](index_t k) { return std::pow(condition, -static_cast<double>(k) / 127); }, n);
  };
  const auto ones = [](index_t) { return 1.0; };
  const std::pair<const char*, tests::Value> families[] = {
      {"geometric 1e4", geometric(1e4)},
      {"geometric 1e8", geometric(1e8)},
      {"rank 1", with_spectrum(n, ones, 1)},
      {"rank 32", with_spectrum(n, ones, 32)},
      {"all equal", with_spectrum(n, ones, n)},
      {"zero", [](index_t, index_t) { return 0.0f; }},
      {"identity", [](index_t i, index_t j) { return i == j ? 1.0f : 0.0f; }},
      {"permutation", [](index_t i, index_t j) { return (i * 37 + 5) % 128 == j ? -2.0f : 0.0f; }},
      {"diagonal", [](index_t i, index_t j) { return i == j ? static_cast<float>((i * 37) % 128) - 64 : 0.0f; }},
      {"ones", [](index_t, index_t) { return 1.0f; }},
      {"one number", [](index_t i, index_t j) { return i == 70 && j == 3 ? 5.0f : 0.0f; }},
      {"equal columns",
       [g = gaussian(5)](index_t i, index_t j) mutable { return j % 2 ? std::sin(float(i)) : g(i, j); }},
      {"outlier column",
       [g = gaussian(6)](index_t i, index_t j) mutable { return (j == 9 ? 1000.0f : 1.0f) * g(i, j); }},
      {"two blocks", [g = gaussian(7)](index_t i, index_t j) mutable { return (i < 50) == (j < 50) ? g(i, j) : 0.0f; }},
      {"f16 subnormals", [g = gaussian(8)](index_t i, index_t j) mutable { return to_float(to_f16(1e-6f * g(i, j))); }},
      {"1e-30", gaussian(9, 1e-30f)},
      {"1e30", gaussian(10, 1e30f)},
  };
  for (const auto& [name, value] : families) {
    Case c(n, n, value);
    expect_decompositions(c, name, {0, 1, 32, n});
    for (float& x : c.a) x = to_float(to_bf16(x));
    expect_decompositions(c, std::string(name) + " in bf16", {40, n});
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
    expect_decompositions(c, "zero", {0, 1, c.r});
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
  const auto make = [] {
    Case c(96, 57, gaussian(11));
    c.keep(19);
    return c;
  };
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

/// Spectra of all tiles, then the vectors of each.
void factorize_in_two_steps(std::vector<Case*> cases, int threads) {
  Queue<Device::cpu> queue(threads);
  std::vector<MatrixView<const float>> in;
  std::vector<TileSvd<Device::cpu>> out;
  ReducedTiles<Device::cpu> reduced;
  for (Case* c : cases) {
    in.push_back(c->in());
    out.push_back({{}, c->sigma.data(), {}, SvdStatus::ok});
  }
  tile_spectra<Device::cpu>(queue, in, out, reduced);
  for (std::size_t t = 0; t < cases.size(); ++t) out[t] = cases[t]->out();
  tile_vectors<Device::cpu>(queue, in, reduced, out);
}

TEST(TileSvd, GivesTheSameBitsInTwoSteps) {
  const auto make = [] {
    std::vector<Case> cases;
    cases.emplace_back(128, 128, gaussian(31));
    cases.emplace_back(128, 40, gaussian(32));
    cases.emplace_back(33, 128, gaussian(33));
    cases.emplace_back(64, 64,
                       with_spectrum(
                           64, [](index_t) { return 1.0; }, 20));
    cases.emplace_back(12, 9, [](index_t, index_t) { return 0.0f; });
    cases.emplace_back(260, 258, gaussian(34));
    const index_t vectors[] = {128, 7, 20, 64, 3, 11};
    for (std::size_t t = 0; t < cases.size(); ++t) cases[t].keep(vectors[t]);
    return cases;
  };
  const auto all = [](std::vector<Case>& cases) {
    std::vector<Case*> pointers;
    for (Case& c : cases) pointers.push_back(&c);
    return pointers;
  };
  std::vector<Case> at_once = make(), in_steps = make();
  factorize(all(at_once), 1);
  factorize_in_two_steps(all(in_steps), 2);
  for (std::size_t t = 0; t < at_once.size(); ++t) {
    EXPECT_EQ(at_once[t].u, in_steps[t].u) << t;
    EXPECT_EQ(at_once[t].sigma, in_steps[t].sigma) << t;
    EXPECT_EQ(at_once[t].vt, in_steps[t].vt) << t;
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

TEST(LibrarySvd, FactorizesByLapackAlone) {
  Queue<Device::cpu> queue(2);
  Case square(30, 30, gaussian(41)), wide(7, 20, gaussian(42, 1e-37f)), tall(40, 9, gaussian(43));
  Case zero(6, 5, [](index_t, index_t) { return 0.0f; }), nan(4, 4, gaussian(44));
  wide.keep(3);
  tall.keep(0);
  nan.a[5] = std::numeric_limits<float>::quiet_NaN();
  Case* cases[] = {&square, &wide, &tall, &zero, &nan};
  std::vector<MatrixView<const float>> in;
  std::vector<TileSvd<Device::cpu>> out;
  for (Case* c : cases) {
    in.push_back(c->in());
    out.push_back(c->out());
  }
  library_svd<Device::cpu>(queue, in, out);
  EXPECT_EQ(out.back().status, SvdStatus::not_finite);
  for (std::size_t t = 0; t + 1 < out.size(); ++t) {
    SCOPED_TRACE(t);
    ASSERT_EQ(out[t].status, SvdStatus::ok);
    tests::expect_gates(*cases[t], reference_spectrum(*cases[t]));
  }
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
