// Tiles that the libraries fail on go to the host: on a GPU that happens at no known tile.

#include <gtest/gtest.h>

#include "kernels/cuda/memory/resources.hpp"
#include "tests/gpu/device_tiles.hpp"
#include "tests/simt/dense_library.hpp"
#include "tests/simt/emulator.hpp"

namespace hack::kernels {
namespace {

using simt::LibraryFault;
using tests::DeviceTiles;
using tests::TileCase;

constexpr Device G = Device::cuda;

class TileSvdFallback : public testing::TestWithParam<LibraryFault> {
 protected:
  TileSvdFallback() {
    simt::library_fault = GetParam();
    cases_[2].keep(7);
  }
  ~TileSvdFallback() override { simt::library_fault = LibraryFault::none; }

  void expect_decompositions(const DeviceTiles& tiles) {
    for (const SvdStatus status : tiles.take(pointers_)) EXPECT_EQ(status, SvdStatus::ok);
    for (const TileCase& c : cases_) {
      SCOPED_TRACE(testing::Message() << c.h << " x " << c.w);
      tests::expect_gates(c, tests::reference_spectrum(c));
    }
    EXPECT_EQ(queue_.resources().tiles_left_to_library(), 3);
    EXPECT_EQ(queue_.resources().tiles_left_to_host(), 3);
  }

  /// Of full rank, which Jacobi does; of rank 1 with more vectors; too large, two of them.
  std::vector<TileCase> cases_ = {TileCase(9, 8, tests::gaussian(1)),
                                  TileCase(8, 12, [](index_t i, index_t) { return 1.0f + static_cast<float>(i); }),
                                  TileCase(130, 20, tests::gaussian(2)), TileCase(10, 140, tests::gaussian(3))};
  std::vector<TileCase*> pointers_ = {&cases_[0], &cases_[1], &cases_[2], &cases_[3]};
  Queue<G> queue_{2};
};

TEST_P(TileSvdFallback, InOneStep) {
  DeviceTiles tiles(pointers_);
  tile_svd<G>(queue_, tiles.in, tiles.out);
  expect_decompositions(tiles);
}

TEST_P(TileSvdFallback, InTwoSteps) {
  DeviceTiles tiles(pointers_);
  ReducedTiles<G> reduced;
  tile_spectra<G>(queue_, tiles.in, tiles.out, reduced);
  tile_vectors<G>(queue_, tiles.in, reduced, tiles.out);
  expect_decompositions(tiles);
}

TEST_P(TileSvdFallback, OfTheLibrariesAloneIsStated) {
  DeviceTiles tiles(pointers_);
  library_svd<G>(queue_, tiles.in, tiles.out);
  for (const SvdStatus status : tiles.take(pointers_)) EXPECT_EQ(status, SvdStatus::not_converged);
}

INSTANTIATE_TEST_SUITE_P(Faults, TileSvdFallback,
                         testing::Values(LibraryFault::not_converged, LibraryFault::wrong_vectors));

TEST(TileSvdOnSmallGpus, LeavesToTheLibrariesWhatDoesNotFitABlock) {
  // 99 KiB of shared memory, as GPUs for workstations have: 132,736 bytes of a tile of 128 x 128 are too many.
  simt::shared_bytes = 99 * 1024;
  std::vector<TileCase> cases = {TileCase(128, 128, tests::gaussian(1)), TileCase(128, 64, tests::gaussian(2))};
  std::vector<TileCase*> pointers = {&cases[0], &cases[1]};
  DeviceTiles tiles(pointers);
  Queue<G> queue(2);
  tile_svd<G>(queue, tiles.in, tiles.out);
  simt::shared_bytes = cuda::most_shared_bytes;
  for (const SvdStatus status : tiles.take(pointers)) EXPECT_EQ(status, SvdStatus::ok);
  for (const TileCase& c : cases) tests::expect_gates(c, tests::reference_spectrum(c));
  EXPECT_EQ(queue.resources().tiles_left_to_library(), 1);
}

}  // namespace
}  // namespace hack::kernels
