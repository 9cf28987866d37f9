// One-sided Jacobi in a thread block, and NVIDIA's libraries for what it leaves, against LAPACK's spectra and the gates
// of the CPU's tile SVD.

#include <limits>

#include <gtest/gtest.h>

#include "kernels/cuda/memory/resources.hpp"
#include "tests/gpu/device_tiles.hpp"

namespace hack::kernels {
namespace {

using tests::DeviceMatrix;
using tests::DeviceTiles;
using tests::expect_gates;
using tests::gaussian;
using tests::reference_spectrum;
using tests::set_thread_order;
using tests::with_spectrum;
using Case = tests::TileCase;

constexpr Device G = Device::cuda;

void expect_left(Queue<G>& queue, index_t to_library) {
  EXPECT_EQ(queue.resources().tiles_left_to_library(), to_library);
  EXPECT_EQ(queue.resources().tiles_left_to_host(), 0);
}

/// Factorizes tiles in one batch, of which the libraries have to take over so many; returns their statuses and puts the
/// results in the cases.
std::vector<SvdStatus> factorize_on_device(std::span<Case* const> cases, index_t left_to_library = 0) {
  DeviceTiles tiles(cases);
  Queue<G> queue(1);
  tile_svd<G>(queue, tiles.in, tiles.out);
  expect_left(queue, left_to_library);
  return tiles.take(cases);
}

/// The same by spectra of all tiles, then the vectors of each.
std::vector<SvdStatus> factorize_in_two_steps(std::span<Case* const> cases, index_t left_to_library) {
  DeviceTiles tiles(cases);
  Queue<G> queue(2);
  ReducedTiles<G> reduced;
  tile_spectra<G>(queue, tiles.in, tiles.out, reduced);
  tile_vectors<G>(queue, tiles.in, reduced, tiles.out);
  expect_left(queue, left_to_library);
  return tiles.take(cases);
}

void expect_decomposition(Case c, index_t left_to_library = 0) {
  SCOPED_TRACE(testing::Message() << c.h << " x " << c.w << ", " << c.k << " vectors");
  Case* one = &c;
  ASSERT_EQ(factorize_on_device(std::span(&one, 1), left_to_library).front(), SvdStatus::ok);
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

TEST(GpuTileSvd, LeavesNullDirectionsAndLargeTilesToTheLibraries) {
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

/// Tiles off every multiple, of full rank and of less, zeros, and too large ones.
std::vector<Case> mixed_cases() {
  std::vector<Case> cases;
  const auto add = [&](index_t h, index_t w, index_t k, const tests::Value& value) {
    cases.emplace_back(h, w, value).keep(k);
  };
  add(33, 20, 7, gaussian(11));
  add(20, 33, 20, gaussian(12));
  add(5, 67, 0, gaussian(13));
  add(1, 1, 1, gaussian(14));
  const auto rank_five = [](index_t i, index_t j) { return i < 5 && j < 5 ? float(1 + i + (i == j)) : 0.0f; };
  add(24, 31, 5, rank_five);
  add(24, 31, 9, rank_five);  // to the libraries, for its vectors
  add(9, 12, 0, [](index_t, index_t) { return 0.0f; });
  add(9, 12, 4, [](index_t, index_t) { return 0.0f; });  // likewise
  add(140, 6, 3, gaussian(15));                          // to the libraries, whole
  return cases;
}

std::vector<Case*> pointers_to(std::vector<Case>& cases) {
  std::vector<Case*> pointers;
  for (Case& c : cases) pointers.push_back(&c);
  return pointers;
}

TEST(GpuTileSvd, FindsInTwoStepsWhatItFindsInOne) {
  tests::in_several_orders([] {
    std::vector<Case> in_one = mixed_cases(), in_two = mixed_cases();
    factorize_on_device(pointers_to(in_one), 3);
    const std::vector<SvdStatus> statuses = factorize_in_two_steps(pointers_to(in_two), 3);
    for (std::size_t t = 0; t < in_two.size(); ++t) {
      SCOPED_TRACE(t);
      EXPECT_EQ(statuses[t], SvdStatus::ok);
      EXPECT_EQ(in_two[t].sigma, in_one[t].sigma);
      EXPECT_EQ(in_two[t].u, in_one[t].u);
      EXPECT_EQ(in_two[t].vt, in_one[t].vt);
      expect_gates(in_two[t], reference_spectrum(in_two[t]));
    }
  });
}

TEST(GpuTileSvd, SkipsInTheSecondStepWhatFailedInTheFirst) {
  Case good(9, 9, gaussian(1)), nan(9, 8, gaussian(2)), large(2, 130, gaussian(3));
  nan.a[30] = large.a[200] = std::numeric_limits<float>::quiet_NaN();
  Case* cases[] = {&nan, &good, &large};
  const std::vector<SvdStatus> statuses = factorize_in_two_steps(cases, 1);
  EXPECT_EQ(statuses, (std::vector{SvdStatus::not_finite, SvdStatus::ok, SvdStatus::not_finite}));
  expect_gates(good, reference_spectrum(good));
}

/// By the libraries alone.
void expect_library_decomposition(Case c, std::vector<index_t> vectors) {
  SCOPED_TRACE(testing::Message() << c.h << " x " << c.w);
  const std::vector<double> expected = reference_spectrum(c);
  std::optional<Case> before;
  for (const index_t k : vectors) {
    SCOPED_TRACE(testing::Message() << k << " vectors");
    c.keep(k);
    Case* one = &c;
    DeviceTiles tiles(std::span(&one, 1));
    Queue<G> queue(1);
    library_svd<G>(queue, tiles.in, tiles.out);
    ASSERT_EQ(tiles.take(std::span(&one, 1)).front(), SvdStatus::ok);
    expect_gates(c, expected);
    EXPECT_TRUE(!before || before->sigma == c.sigma);
    EXPECT_TRUE(!before || tests::begin_alike(*before, c));
    before = c;
  }
}

TEST(GpuLibrarySvd, FactorizesTilesOfAllShapes) {
  unsigned seed = 21;
  for (auto [h, w] : {std::pair<index_t, index_t>{1, 1}, {7, 3}, {33, 70}, {70, 33}}) {
    expect_library_decomposition(Case(h, w, gaussian(seed++)), {0, std::min(h, w) / 3, std::min(h, w)});
  }
  expect_library_decomposition(Case(150, 190, gaussian(seed++)), {5, 130, 150});  // in two panels
  expect_library_decomposition(Case(190, 140, gaussian(seed++)), {128, 129, 140});
}

TEST(GpuLibrarySvd, FactorizesGradedEqualAndNullSpectra) {
  tests::in_several_orders([] {
    const index_t n = 40;
    const std::vector<index_t> vectors = {3, 17, n};
    expect_library_decomposition(Case(n, n,
                                      with_spectrum(
                                          n, [](index_t k) { return std::pow(1e-9, k / 39.0); }, n)),
                                 vectors);
    expect_library_decomposition(Case(n, n,
                                      with_spectrum(
                                          n, [](index_t) { return 1.0; }, n)),
                                 vectors);
    expect_library_decomposition(Case(n, n,
                                      with_spectrum(
                                          n, [](index_t) { return 1.0; }, 7)),
                                 vectors);
    expect_library_decomposition(Case(50, n, [](index_t i, index_t j) { return i < 5 && j < 9 ? 1.0f + i * j : 0.0f; }),
                                 vectors);
    expect_library_decomposition(Case(n, 50, [](index_t, index_t) { return 0.0f; }), vectors);
  });
}

TEST(GpuLibrarySvd, GivesTheSameBitsInAnyOrderOfThreads) {
  const index_t n = 40;
  const auto small = with_spectrum(
      n, [](index_t k) { return std::pow(1e-9, k / 39.0); }, 30);
  const auto null = [](index_t i, index_t j) { return i < 5 && j < 9 ? 1.0f + i * j : 0.0f; };
  for (const tests::Value& value : {tests::Value(small), tests::Value(null)}) {
    std::optional<Case> before;
    for (const unsigned seed : {1u, 5u, 9u}) {
      set_thread_order(seed);
      Case c(n, n, value);
      Case* one = &c;
      DeviceTiles tiles(std::span(&one, 1));
      Queue<G> queue(1);
      library_svd<G>(queue, tiles.in, tiles.out);
      tiles.take(std::span(&one, 1));
      EXPECT_TRUE(!before || (before->sigma == c.sigma && tests::begin_alike(*before, c)));
      before = c;
    }
  }
}

TEST(GpuLibrarySvd, KeepsItsRangeAtExtremeScales) {
  for (const float scale : {1e-37f, 1e30f}) {
    expect_library_decomposition(Case(17, 13, gaussian(5, scale)), {13});
  }
  Case huge(20, 20, [](index_t, index_t) { return 3e38f; });
  Case* one = &huge;
  DeviceTiles tiles(std::span(&one, 1));
  Queue<G> queue(1);
  library_svd<G>(queue, tiles.in, tiles.out);
  EXPECT_EQ(tiles.out.front().status, SvdStatus::not_finite);  // its singular value is 6e39
}

TEST(GpuLibrarySvd, FactorizesShapesOfABatchTogether) {
  std::vector<Case> cases = mixed_cases();
  Case nan(9, 12, gaussian(2));
  nan.a.back() = std::numeric_limits<float>::quiet_NaN();
  cases.push_back(nan);
  DeviceTiles tiles(pointers_to(cases));
  Queue<G> queue(1);
  library_svd<G>(queue, tiles.in, tiles.out);
  const std::vector<SvdStatus> statuses = tiles.take(pointers_to(cases));
  for (std::size_t t = 0; t < cases.size(); ++t) {
    SCOPED_TRACE(t);
    ASSERT_EQ(statuses[t], t + 1 < cases.size() ? SvdStatus::ok : SvdStatus::not_finite);
    if (t + 1 < cases.size()) expect_gates(cases[t], reference_spectrum(cases[t]));
  }
}

TEST(GpuTileProduct, RebuildsAsTheCpuDoes) {
  struct Shape {
    index_t h, w, k, rank;
  };
  const Shape shapes[] = {{33, 20, 20, 13}, {20, 33, 9, 9}, {70, 129, 35, 35}, {1, 5, 1, 1}, {12, 10, 4, 0}};
  // Tiles stand beside each other in one matrix, whose numbers between them stay.
  constexpr index_t height = 80, ld = 210;
  index_t left = 0;
  const std::vector<float> before(height * ld, -7.0f);
  DeviceMatrix<> whole(before, height, ld);
  std::vector<std::unique_ptr<DeviceMatrix<>>> memory;
  std::vector<TileSvd<G>> tiles;
  std::vector<TileSvd<Device::cpu>> host_tiles;
  std::vector<index_t> ranks;
  std::vector<MatrixView<float, G>> out;
  std::vector<MatrixView<float>> expected_out;
  std::vector<float> expected = before;
  std::vector<Case> cases;
  cases.reserve(std::size(shapes));
  for (const auto& [h, w, k, rank] : shapes) {
    Case& c = cases.emplace_back(h, w, gaussian(static_cast<unsigned>(h)));
    c.keep(k);
    ASSERT_EQ(tests::factorize(c), SvdStatus::ok);
    const auto place = [&](const std::vector<float>& numbers, index_t rows, index_t cols) {
      return memory.emplace_back(std::make_unique<DeviceMatrix<>>(numbers, rows, cols))->view();
    };
    tiles.push_back({place(c.u, h, k), place(c.sigma, 1, c.r).data, place(c.vt, k, w)});
    host_tiles.push_back(c.out());
    ranks.push_back(rank);
    out.push_back(whole.view().block(3, left, h, w));
    expected_out.push_back(MatrixView<float>(expected.data(), height, ld).block(3, left, h, w));
    left += w + 1;
  }
  Queue<Device::cpu> host(1);
  tile_product<Device::cpu>(host, host_tiles, ranks, expected_out);
  Queue<G> queue(1);
  tile_product<G>(queue, tiles, ranks, out);
  queue.wait();
  const std::vector<float> actual = whole.host();
  // Sums of at most 35 terms, each rounding by eps of sigma_1, about 20, in two orders.
  for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 2 * 35 * 6e-8 * 20) << i;
}

}  // namespace
}  // namespace hack::kernels
