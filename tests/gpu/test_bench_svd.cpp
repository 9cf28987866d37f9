// What `hack bench svd` times, on a GPU: its rows, and that it checks what it has timed. No timing is checked.

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "jobs/bench/bench_svd.hpp"

namespace hack::jobs {
namespace {

TEST(GpuBenchSvd, TimesTilesBesideTheLibrary) {
  const comm::Communicator world = comm::Communicator::world();
  Queue<Device::cuda> queue(1);
  for (const index_t vectors : {0, 5}) {
    const SvdCase of{.size = 12, .vectors = vectors, .tiles = 5, .type = "bf16", .repeats = 1, .product_rate = 1e9};
    const nlohmann::json rows = time_svd<Device::cuda>(world, queue, of);
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0]["path"], "tile_svd");
    EXPECT_EQ(rows[1]["path"], "xsyevbatched");
    EXPECT_EQ(rows[0]["xsyevbatched_tiles_per_second"], rows[1]["tiles_per_second"]);
    EXPECT_GT(rows[0]["ratio"], 0);
    for (const nlohmann::json& row : rows) {
      EXPECT_EQ(row["tile"], 12);
      EXPECT_EQ(row["vectors"], vectors);
      EXPECT_EQ(row["ranks"], world.size());
      for (const char* figure : {"tiles_per_second", "gigabytes_per_second", "gigaflops", "limit", "sigma_error"}) {
        EXPECT_GT(row[figure], 0) << figure;
      }
    }
  }
}

}  // namespace
}  // namespace hack::jobs
