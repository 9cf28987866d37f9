// Blocks of a product with tiles that go on in turns: whichever is the last of its tile row adds up what all have left.

#include <gtest/gtest.h>

#include "kernels/cuda/linear/tile_launch.hpp"
#include "tests/gpu/device_factors.hpp"
#include "tests/simt/emulator.hpp"

namespace hack::simt {
namespace {

using kernels::cuda::TileProduct;
using tests::DeviceFactors;
using tests::DeviceMatrix;
using tests::RandomFactors;

TEST(TileBlocks, GiveTheSameBitsInAnyOrder) {
  constexpr index_t rows = 70, cols = 330;
  const RandomFactors w(rows, cols, 64, DType::bf16, tests::every_form);
  const DeviceFactors there(w);
  const DeviceMatrix<> x(tests::random_floats(cols, 4), 1, cols);
  DeviceMatrix<> expected(1, rows);
  Queue<Device::cuda> queue(1);
  kernels::factored_linear<Device::cuda>(queue, x.in(), there.view(), expected.view());

  auto side = kernels::cuda::tile_side<bf16>({there.view(), nullptr});
  ASSERT_GT(side.runs.most, 2);
  ASSERT_FALSE(side.runs.is_aligned);
  for (order_seed = 1; order_seed < 6; ++order_seed) {
    DeviceMatrix<> sums(side.runs.most, rows);
    DeviceMatrix<> y(1, rows);
    side.sums = sums.view().data;
    SideBySide gpus(1);
    gpus.add(0,
             TileProduct<bf16, 1, false>{side, {}, kernels::cuda::array_of(x.in()), kernels::cuda::array_of(y.view())});
    gpus.run();
    EXPECT_EQ(y.host(), expected.host());
  }
  order_seed = 1;
}

}  // namespace
}  // namespace hack::simt
