// One-sided Jacobi in a thread block, against LAPACK's spectra and the gates of the CPU's tile SVD.

#include <limits>

#include <gtest/gtest.h>

#include "tests/kernels/tile_case.hpp"
#include "kernels/cuda/resources.hpp"
#include "tests/gpu/device_data.hpp"

namespace hack::kernels {
namespace {

using tests::DeviceMatrix;
using tests::expect_gates;
using tests::gaussian;
using tests::reference_spectrum;
using tests::set_thread_order;
using tests::with_spectrum;
using Case = tests::TileCase;

constexpr Device G = Device::cuda;

/// Factorizes tiles in one batch, of which the host has to take over so many; returns their statuses and puts the
/// results in the cases.
std::vector<SvdStatus> factorize_on_device(std::span<Case*> cases, index_t left_to_host = 0) {
  struct Place {
    DeviceMatrix<> a, u, sigma, vt;
    explicit Place(const Case& c) : a(c.a, c.h, c.w), u(c.h, c.k), sigma(1, c.r), vt(c.k, c.w) {}
  };
  std::vector<std::unique_ptr<Place>> places;
  std::vector<MatrixView<const float, G>> in;
  std::vector<TileSvd<G>> out;
  for (Case* c : cases) {
    Place& place = *places.emplace_back(std::make_unique<Place>(*c));
    in.push_back(place.a.in());
    out.push_back({place.u.view(), place.sigma.view().data, place.vt.view()});
  }
  Queue<G> queue(1);
  tile_svd<G>(queue, in, out);
  EXPECT_EQ(queue.resources().tiles_left_to_host(), left_to_host);
  std::vector<SvdStatus> statuses;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    statuses.push_back(out[i].status);
    cases[i]->u = places[i]->u.host();
    cases[i]->sigma = places[i]->sigma.host();
    cases[i]->vt = places[i]->vt.host();
  }
  return statuses;
}

void expect_decomposition(Case c, index_t left_to_host = 0) {
  SCOPED_TRACE(testing::Message() << c.h << " x " << c.w << ", " << c.k << " vectors");
  Case* one = &c;
  ASSERT_EQ(factorize_on_device(std::span(&one, 1), left_to_host).front(), SvdStatus::ok);
  expect_gates(c, reference_spectrum(c));
}

TEST(GpuTileSvd, FactorizesSmallTilesOfAllShapes) {
  unsigned seed = 1;
  for (auto [h, w] : {std::pair<index_t, index_t>{1, 1}, {1, 9}, {7, 3}, {33, 20}, {20, 33}, {5, 128}, {40, 40}}) {
    Case c(h, w, gaussian(seed++));
    for (index_t k : {index_t{0}, c.r / 3, c.r}) {
      c.keep(k);
      expect_decomposition(c);
    }
  }
}

TEST(GpuTileSvd, FactorizesAWholeTile) { expect_decomposition(Case(128, 128, gaussian(7))); }

TEST(GpuTileSvd, FactorizesGradedAndEqualSpectra) {
  const index_t n = 40;
  expect_decomposition(Case(n, n,
                            with_spectrum(
                                n, [](index_t k) { return std::pow(1e-6, k / 39.0); }, n)));
  expect_decomposition(Case(n, n,
                            with_spectrum(
                                n, [](index_t) { return 1.0; }, n)));
  expect_decomposition(Case(n, n, [](index_t i, index_t j) { return i == j ? 1.0f : 0.0f; }));
}

TEST(GpuTileSvd, LeavesNullDirectionsAndLargeTilesToTheHost) {
  Case zero(24, 30, [](index_t, index_t) { return 0.0f; });
  expect_decomposition(zero, 1);
  zero.keep(0);
  expect_decomposition(zero);  // without vectors nothing is missing
  Case rank_five(24, 30, [](index_t i, index_t j) { return i < 5 && j < 5 ? float(i == j) : 0.0f; });
  expect_decomposition(rank_five, 1);
  rank_five.keep(5);
  expect_decomposition(rank_five);
  expect_decomposition(Case(150, 10, gaussian(3)), 1);
}

TEST(GpuTileSvd, KeepsItsRangeAtExtremeScales) {
  for (float scale : {1e-37f, 1e30f}) expect_decomposition(Case(17, 13, gaussian(5, scale)));
}

TEST(GpuTileSvd, SaysWhichTilesAreNotFinite) {
  Case good(9, 9, gaussian(1)), nan(9, 8, gaussian(2)), inf(20, 20, gaussian(3));
  nan.a[30] = std::numeric_limits<float>::quiet_NaN();
  inf.a[7] = std::numeric_limits<float>::infinity();
  Case* cases[] = {&nan, &good, &inf};
  const std::vector<SvdStatus> statuses = factorize_on_device(cases);
  EXPECT_EQ(statuses, (std::vector{SvdStatus::not_finite, SvdStatus::ok, SvdStatus::not_finite}));
  expect_gates(good, reference_spectrum(good));
}

TEST(GpuTileSvd, GivesTheSameBitsInAnyOrderOfThreads) {
  Case first(30, 25, gaussian(4)), second = first;
  Case *one = &first, *two = &second;
  set_thread_order(1);
  factorize_on_device(std::span(&one, 1));
  set_thread_order(5);
  factorize_on_device(std::span(&two, 1));
  EXPECT_EQ(first.sigma, second.sigma);
  EXPECT_EQ(first.u, second.u);
  EXPECT_EQ(first.vt, second.vt);
}

}  // namespace
}  // namespace hack::kernels
