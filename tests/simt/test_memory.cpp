// What a compression takes of a GPU's memory, against the formula.

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "svd/pipeline/compress.hpp"
#include "tests/simt/emulator.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::svd {
namespace {

MatrixSource random_matrix(const std::string& name, index_t rows, index_t cols) {
  return {name, rows, cols, [](index_t row, index_t col, MatrixView<float> out) {
            std::minstd_rand engine(static_cast<unsigned>(31 * row + col + 1));
            std::normal_distribution<float> normal;
            for (index_t i = 0; i < out.rows; ++i) {
              for (index_t j = 0; j < out.cols; ++j) out(i, j) = normal(engine);
            }
          }};
}

void expect_bound(const CompressOptions& options, index_t rows, index_t cols) {
  SCOPED_TRACE(::testing::Message() << rows << " x " << cols << ", " << to_string(options.storage));
  const std::vector<MatrixSource> sources = {random_matrix("first", rows, cols), random_matrix("second", rows, cols)};
  const hack::testing::TemporaryDirectory folder;
  simt::peak_bytes = 0;
  index_t bound = 0;
  {
    Queue<Device::cuda> queue(1);
    bound = compress(comm::Communicator::self(), queue, sources, options,
                     {{"0", "f", "{}", "plain", "{}"}, folder.path() / "a.h5"})
                .gpu_memory;
  }
  // Lists of tiles and their shares come on top.
  EXPECT_LE(static_cast<index_t>(simt::peak_bytes), bound + 16384);
  EXPECT_GE(static_cast<index_t>(simt::peak_bytes), bound / 2);
}

TEST(GpuMemory, IsWhatTheFormulaSays) {
  for (const Structure storage : {Structure::interpolative, Structure::low_rank}) {
    const RankRule rule{RankRule::Kind::topk, 0.5};
    expect_bound({TileMode::full, 0, rule, Codec::bf16, storage}, 270, 150);
    expect_bound({TileMode::full, 0, rule, Codec::bf16, storage}, 140, 320);
    expect_bound({TileMode::tile, 48, rule, Codec::bf16, storage}, 96, 96);
  }
  expect_bound({TileMode::full, 0, {RankRule::Kind::max_rank, 130}, Codec::bf16, Structure::low_rank}, 200, 150);
}

TEST(GpuMemory, BoundsBatches) {
  const std::vector<MatrixSource> sources = {random_matrix("first", 200, 150), random_matrix("second", 150, 200)};
  const CompressOptions options{TileMode::full, 0, {RankRule::Kind::topk, 0.5}, Codec::bf16, Structure::low_rank};
  const hack::testing::TemporaryDirectory folder;
  Queue<Device::cuda> queue(1);
  try {
    compress(comm::Communicator::self(), queue, sources, options,
             {{"0", "f", "{}", "plain", "{}"}, folder.path() / "a.h5"}, 400000);
    ADD_FAILURE() << "no error";
  } catch (const MemoryError& error) {
    EXPECT_NE(std::string(error.what()).find("of the GPU's"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace hack::svd
