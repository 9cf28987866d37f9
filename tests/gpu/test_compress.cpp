// Archives whose factors a GPU has found, against the CPU's.

#include <cmath>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/error.hpp"
#include "svd/pipeline/compress.hpp"
#include "svd/archive/factor_archive.hpp"
#include "tests/support/stored_tile.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::svd {
namespace {

using comm::Communicator;
using kernels::Structure;

/// A smooth part that low ranks catch, and noise from the indices.
float element(index_t i, index_t j) {
  const auto hash = static_cast<std::uint32_t>((i * 73856093) ^ (j * 19349663));
  const float noise = static_cast<float>((hash * 2654435761u) >> 8) / 16777216.0f - 0.5f;
  return std::sin(0.1f * static_cast<float>(i)) * std::cos(0.07f * static_cast<float>(j)) + 0.2f * noise;
}

float none(index_t, index_t) { return 0.0f; }

MatrixSource source(const std::string& name, index_t rows, index_t cols, float (*value)(index_t, index_t)) {
  return {name, rows, cols, [=](index_t row, index_t col, MatrixView<float> out) {
            for (index_t i = 0; i < out.rows; ++i) {
              for (index_t j = 0; j < out.cols; ++j) out(i, j) = value(row + i, col + j);
            }
          }};
}

/// Sizes off every multiple of the tiles; rank 1 in some rows; columns, tiles and a matrix of zeros.
std::vector<MatrixSource> example() {
  return {source("noisy", 71, 53, element),
          source("poor", 40, 33,
                 [](index_t i, index_t j) { return i < 20 ? element(i, 0) * element(7, j) : element(i, j); }),
          source("gaps", 45, 50, [](index_t i, index_t j) { return j % 4 == 0 || i < 24 ? 0.0f : element(i, j); }),
          source("zero", 30, 26, none), source("small", 3, 2, element)};
}

template <Device D>
CompressReport run(const Communicator& comm, const std::vector<MatrixSource>& sources, const CompressOptions& options,
                   const std::filesystem::path& path) {
  Queue<D> queue(2);
  CompressReport report = compress(comm, queue, sources, options, {{"0", "f", "{}", "plain", "{}"}, path});
  if constexpr (D == Device::cuda) {
    EXPECT_EQ(queue.resources().tiles_left_to_host(), 0);
  }
  return report;
}

class GpuCompress : public ::testing::Test {
 protected:
  GpuCompress() {
    std::string name;
    if (world_.is_root()) {
      folder_ = std::make_unique<hack::testing::TemporaryDirectory>();
      name = folder_->path().string();
    }
    comm::broadcast(world_, name);
    path_ = name;
  }
  ~GpuCompress() override { world_.barrier(); }

  void expect_same_archive(const CompressOptions& options, const std::vector<MatrixSource>& sources = example());
  void expect_same_matrix(const MatrixSource& original, const FactorArchive& actual, const FactorArchive& expected);

  Communicator world_ = Communicator::world();
  std::unique_ptr<hack::testing::TemporaryDirectory> folder_;
  std::filesystem::path path_;
};

double norm_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum);
}

void GpuCompress::expect_same_matrix(const MatrixSource& original, const FactorArchive& actual,
                                     const FactorArchive& expected) {
  SCOPED_TRACE(original.name);
  const MatrixEntry &here = actual.matrix(original.name), &there = expected.matrix(original.name);
  for (index_t t = 0; t < here.grid.size(); ++t) {
    EXPECT_EQ(here.rank(t), there.rank(t));
    EXPECT_EQ(here.structure(t), there.structure(t));
  }
  EXPECT_EQ(here.bytes_factors, there.bytes_factors);
  const std::vector<float> sigma = actual.spectrum(original.name), sigma_there = expected.spectrum(original.name);
  ASSERT_EQ(sigma.size(), sigma_there.size());
  const std::vector<StoredTile> tiles = actual.read_tiles(original.name, {0, here.grid.size()});
  const std::vector<StoredTile> tiles_there = expected.read_tiles(original.name, {0, here.grid.size()});
  for (index_t t = 0; t < here.grid.size(); ++t) {
    SCOPED_TRACE(t);
    const Tile at = here.grid.tile(t);
    const float* first = sigma.data() + t * here.spectrum_length;
    const float* first_there = sigma_there.data() + t * here.spectrum_length;
    // Either is off by 1e-6 of the largest at most; see expect_gates().
    for (index_t l = 0; l < here.spectrum_length; ++l) ASSERT_NEAR(first[l], first_there[l], 2e-6 * first_there[0]);
    std::vector<float> w(static_cast<std::size_t>(at.height * at.width));
    original.read(at.row, at.col, {w.data(), at.height, at.width});
    const std::vector<double> whole(w.begin(), w.end());
    std::vector<double> difference = hack::testing::values_of(tiles[static_cast<std::size_t>(t)], at), error = whole;
    const std::vector<double> values = hack::testing::values_of(tiles_there[static_cast<std::size_t>(t)], at);
    std::vector<double> error_there = whole;
    for (std::size_t n = 0; n < whole.size(); ++n) {
      error[n] -= difference[n];
      error_there[n] -= values[n];
      difference[n] -= values[n];
    }
    // Truncation's error is to second order the same; the truncated tile moves by rounding over the gap between the
    // last singular value that is kept and the next, some hundredths of the largest here.
    EXPECT_NEAR(norm_of(error), norm_of(error_there), 1e-5 * norm_of(whole));
    EXPECT_LE(norm_of(difference), 1e-3 * norm_of(whole));
  }
}

void GpuCompress::expect_same_archive(const CompressOptions& options, const std::vector<MatrixSource>& sources) {
  SCOPED_TRACE(::testing::Message() << to_string(options.rule.kind) << " as " << to_string(options.storage));
  const CompressReport expected = run<Device::cpu>(world_, sources, options, path_ / "cpu.h5");
  const CompressReport actual = run<Device::cuda>(world_, sources, options, path_ / "gpu.h5");
  EXPECT_NEAR(actual.total.relative_error(), expected.total.relative_error(), 1e-6);
  const FactorArchive here(path_ / "gpu.h5"), there(path_ / "cpu.h5");
  for (const MatrixSource& original : sources) expect_same_matrix(original, here, there);
  world_.barrier();
}

TEST_F(GpuCompress, WritesTheCpusArchive) {
  for (const Structure storage : {Structure::interpolative, Structure::low_rank}) {
    for (const RankRule& rule : {RankRule{RankRule::Kind::topk, 0.3}, RankRule{RankRule::Kind::topk, 0.9},
                                 RankRule{RankRule::Kind::tolerance, 0.2}}) {
      expect_same_archive({TileMode::tile, 24, rule, Codec::f32, storage});
    }
    // A budget may tell a null from the rounding that another device finds in its place.
    std::vector<MatrixSource> without_nulls = example();
    std::erase_if(without_nulls, [](const MatrixSource& m) { return m.name == "poor" || m.name == "gaps"; });
    expect_same_archive({TileMode::tile, 24, {RankRule::Kind::keep, 0.6}, Codec::f32, storage}, without_nulls);
  }
}

TEST_F(GpuCompress, KeepsVectorsForRanksChosenLater) {
  const CompressOptions options{TileMode::tile, 24, {RankRule::Kind::max_rank, 9}, Codec::f32, Structure::low_rank};
  expect_same_archive(options);
  const FactorArchive archive(path_ / "gpu.h5");
  std::vector<float> values(24 * 24), expected(24 * 24);
  archive.read_values("noisy", 0, {values.data(), 24, 24});
  example()[0].read(0, 0, {expected.data(), 24, 24});
  EXPECT_EQ(values, expected);
}

TEST_F(GpuCompress, FactorizesWholeMatrices) {
  const std::vector<MatrixSource> sources = {source("tall", 140, 9, element), source("wide", 12, 131, element),
                                             source("large", 141, 150, element), source("zero", 30, 150, none),
                                             source("small", 20, 30, element)};
  for (const Structure storage : {Structure::interpolative, Structure::low_rank}) {
    for (const RankRule& rule : {RankRule{RankRule::Kind::topk, 0.3}, RankRule{RankRule::Kind::keep, 0.6}}) {
      expect_same_archive({TileMode::full, 1, rule, Codec::f32, storage}, sources);
    }
  }
  expect_same_archive({TileMode::full, 1, {RankRule::Kind::max_rank, 135}, Codec::f32, Structure::low_rank}, sources);
}

TEST_F(GpuCompress, GivesTheSameBytesForAnyNumberOfRanks) {
  for (const Codec type : {Codec::bf16, Codec::int8}) {
    const CompressOptions options{TileMode::tile, 24, {RankRule::Kind::keep, 0.6}, type};
    const std::filesystem::path mine = path_ / (std::to_string(world_.rank()) + ".h5");
    run<Device::cuda>(world_, example(), options, path_ / "all.h5");
    run<Device::cuda>(Communicator::self(), example(), options, mine);
    EXPECT_EQ(hack::testing::read_file(path_ / "all.h5"), hack::testing::read_file(mine));
    world_.barrier();
  }
}

TEST_F(GpuCompress, NamesTheTileThatIsNotFinite) {
  std::vector<MatrixSource> sources = example();
  sources[0] = source("broken", 71, 53, [](index_t i, index_t j) {
    return i == 50 && j == 30 ? std::numeric_limits<float>::quiet_NaN() : element(i, j);
  });
  try {
    run<Device::cuda>(world_, sources, {TileMode::tile, 24, {RankRule::Kind::topk, 0.5}, Codec::f32}, path_ / "a.h5");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("tensor broken, tile (2, 1)"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace hack::svd
