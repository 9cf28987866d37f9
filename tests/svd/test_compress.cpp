#include "svd/pipeline/compress.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "comm/journal.hpp"
#include "kernels/error.hpp"
#include "svd/archive/factor_archive.hpp"
#include "tests/support/stored_tile.hpp"

namespace hack::svd {
namespace {

using comm::Communicator;
using kernels::Structure;

class CompressTest : public ::testing::Test {
 protected:
  CompressTest() {
    std::string name = (std::filesystem::temp_directory_path() / "hack-compress-XXXXXX").string();
    if (world_.is_root()) name = mkdtemp(name.data());
    comm::broadcast(world_, name);
    folder_ = name;
  }
  ~CompressTest() override {
    world_.barrier();
    std::error_code ignored;
    if (world_.is_root()) std::filesystem::remove_all(folder_, ignored);
  }

  std::filesystem::path mine(const std::string& name) const {
    return folder_ / (name + std::to_string(world_.rank()) + ".h5");
  }

  CompressReport run(const Communicator& comm, const std::vector<MatrixSource>& sources, const CompressOptions& options,
                     const std::filesystem::path& path, int threads = 1) {
    Queue<Device::cpu> queue(threads);
    return compress(comm, queue, sources, options, {{"0", "f", "{}", "plain", "{}"}, path});
  }

  Communicator world_ = Communicator::world();
  std::filesystem::path folder_;
};

/// A smooth part that low ranks catch, and noise from the indices.
float element(index_t seed, index_t i, index_t j) {
  const auto hash = static_cast<std::uint32_t>((i * 73856093) ^ (j * 19349663) ^ (seed * 83492791));
  const float noise = static_cast<float>((hash * 2654435761u) >> 8) / 16777216.0f - 0.5f;
  return std::sin(0.1f * static_cast<float>(i + seed)) * std::cos(0.07f * static_cast<float>(j)) + 0.2f * noise;
}

MatrixSource source(const std::string& name, index_t seed, index_t rows, index_t cols) {
  return {name, rows, cols, [=](index_t row, index_t col, MatrixView<float> out) {
            for (index_t i = 0; i < out.rows; ++i) {
              for (index_t j = 0; j < out.cols; ++j) out(i, j) = element(seed, row + i, col + j);
            }
          }};
}

std::vector<MatrixSource> example() {
  return {source("gate", 1, 40, 27), source("up", 2, 40, 27), source("down", 3, 27, 40), source("small", 4, 3, 2)};
}

std::vector<char> contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

const RankRule rules[] = {{RankRule::Kind::topk, 0.3},
                          {RankRule::Kind::topk, 0.9},
                          {RankRule::Kind::tolerance, 0.2},
                          {RankRule::Kind::keep, 0.7}};

TEST_F(CompressTest, GivesTheSameBytesForAnyNumberOfRanksAndThreads) {
  const Codec half = Codec::bf16, integer = Codec::int8;
  for (const auto& [rule, storage, type] : {std::tuple{rules[0], Structure::interpolative, half},
                                            {rules[0], Structure::low_rank, half},
                                            {rules[1], Structure::interpolative, half},
                                            {rules[1], Structure::low_rank, integer},
                                            {rules[2], Structure::low_rank, half},
                                            {rules[3], Structure::interpolative, half},
                                            {rules[3], Structure::interpolative, integer},
                                            {rules[3], Structure::low_rank, half}}) {
    const CompressOptions options{TileMode::tile, 16, rule, type, storage};
    const CompressReport all = run(world_, example(), options, folder_ / "all.h5", 2);
    const CompressReport self = run(Communicator::self(), example(), options, mine("self"), 1);
    EXPECT_TRUE(contents(folder_ / "all.h5") == contents(mine("self"))) << to_string(rule.kind);
    for (std::size_t m = 0; m < all.matrices.size(); ++m) {
      EXPECT_EQ(all.matrices[m].relative_error(), self.matrices[m].relative_error());
      EXPECT_EQ(all.matrices[m].bytes_factors, self.matrices[m].bytes_factors);
    }
    EXPECT_EQ(all.total.relative_error(), self.total.relative_error());
    world_.barrier();
  }
}

TEST_F(CompressTest, GivesTheSameBytesInLittleMemory) {
  Queue<Device::cpu> queue(1);
  const ArchiveHeader header = {"0", "f", "{}", "plain", "{}"};
  const CompressOptions options{TileMode::tile, 16, rules[3], Codec::bf16};
  std::vector<MatrixSource> sources;
  for (index_t seed = 0; seed < 40; ++seed) sources.push_back(source(std::to_string(seed), seed, 40, 27));
  const CompressReport all = run(world_, sources, options, folder_ / "all.h5");
  const index_t little = all.memory / 2;  // too little for all at once
  const CompressReport held = compress(world_, queue, sources, options, {header, folder_ / "held.h5"}, little);
  EXPECT_TRUE(contents(folder_ / "held.h5") == contents(folder_ / "all.h5"));
  EXPECT_LE(held.memory, little);
  EXPECT_EQ(std::ssize(held.idle_shares), world_.size());
  try {
    compress(world_, queue, sources, options, {header, folder_ / "none.h5"}, 1000);
    ADD_FAILURE() << "no error";
  } catch (const MemoryError& error) {
    EXPECT_NE(std::string(error.what()).find("more memory or more ranks"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "none.h5"));
}

/// ‖W - stored W‖ / ‖W‖ of a matrix as read from an archive of f32.
double measured_error(const FactorArchive& archive, const MatrixSource& original) {
  const MatrixEntry& entry = archive.matrix(original.name);
  double error = 0, norm = 0;
  for (index_t i = 0; i < entry.grid.tile_rows(); ++i) {
    const std::vector<StoredTile> row = archive.read_tiles(original.name, i, 0, entry.grid.tile_cols());
    for (index_t j = 0; j < entry.grid.tile_cols(); ++j) {
      const Tile at = entry.grid.tile(i, j);
      const StoredTile& tile = row[j];
      std::vector<float> w(static_cast<std::size_t>(at.height * at.width));
      original.read(at.row, at.col, {w.data(), at.height, at.width});
      const std::vector<double> stored = hack::testing::values_of(tile, at);
      for (index_t a = 0; a < at.height; ++a) {
        for (index_t b = 0; b < at.width; ++b) {
          const double sum = stored[a * at.width + b];
          error += std::pow(w[a * at.width + b] - sum, 2);
          norm += std::pow(double{w[a * at.width + b]}, 2);
        }
      }
    }
  }
  return std::sqrt(error / norm);
}

class CompressStorageTest : public CompressTest, public ::testing::WithParamInterface<Structure> {};

TEST_P(CompressStorageTest, StoresWhatTheReportSays) {
  for (TileMode mode : {TileMode::tile, TileMode::full}) {
    for (const RankRule& rule : rules) {
      const CompressReport report =
          run(world_, example(), {mode, 16, rule, Codec::f32, GetParam()}, folder_ / "all.h5");
      const FactorArchive archive(folder_ / "all.h5");
      ASSERT_EQ(report.matrices.size(), 4u);
      index_t bytes = 0, dense_tiles = 0;
      for (std::size_t m = 0; m < 4; ++m) {
        const MatrixSource original = example()[m];
        const CompressionSummary& summary = report.matrices[m];
        const MatrixEntry& entry = archive.matrix(summary.name);
        EXPECT_EQ(summary.name, original.name);
        EXPECT_EQ(summary.bytes_factors, entry.bytes_factors);
        EXPECT_EQ(summary.bytes_dense, original.rows * original.cols * 4);
        EXPECT_EQ(summary.tiles, mode == TileMode::full ? 1 : entry.grid.size());
        index_t least = entry.grid.max_rank(), most = 0, dense = 0;
        for (index_t t = 0; t < entry.grid.size(); ++t) {
          least = std::min<index_t>(least, entry.rank(t));
          most = std::max<index_t>(most, entry.rank(t));
          dense += entry.structure(t) == Structure::dense;
        }
        EXPECT_EQ(summary.min_rank, least);
        EXPECT_EQ(summary.max_rank, most);
        EXPECT_EQ(summary.dense_tiles, dense);
        // Factors and products are within about n eps = 40 * 6e-8 of the truncated tile; twice that for both.
        EXPECT_NEAR(measured_error(archive, original), summary.relative_error(), 5e-6);
        bytes += summary.bytes_factors;
        dense_tiles += summary.dense_tiles;
        if (rule.kind == RankRule::Kind::tolerance) {
          EXPECT_LE(summary.relative_error(), rule.value);
        }
        if (rule.kind == RankRule::Kind::keep) {
          EXPECT_LE(summary.keep(), rule.value);
        }
      }
      EXPECT_EQ(report.total.bytes_factors, bytes);
      EXPECT_EQ(report.total.dense_tiles, dense_tiles);
      world_.barrier();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Storages, CompressStorageTest,
                         ::testing::Values(Structure::interpolative, Structure::low_rank),
                         [](const auto& storage) { return std::string(to_string(storage.param)); });

TEST_F(CompressTest, KeepsOriginalValuesUnderABudgetOfOne) {
  const CompressOptions options{TileMode::tile, 16, {RankRule::Kind::keep, 1.0}, Codec::f32};
  const CompressReport report = run(world_, example(), options, folder_ / "all.h5");
  EXPECT_EQ(report.total.relative_error(), 0);
  EXPECT_EQ(report.total.dense_tiles, report.total.tiles);
  for (const MatrixSource& original : example())
    EXPECT_EQ(measured_error(FactorArchive(folder_ / "all.h5"), original), 0);
}

TEST_F(CompressTest, WorksWithMoreRanksThanTiles) {
  const std::vector<MatrixSource> one = {source("w", 5, 5, 7)};
  const CompressOptions options{TileMode::full, 0, {RankRule::Kind::topk, 0.2}, Codec::f16};
  const CompressReport report = run(world_, one, options, folder_ / "all.h5");
  EXPECT_EQ(report.total.tiles, 1);
  EXPECT_EQ(report.total.max_rank, 1);
  run(Communicator::self(), one, options, mine("self"));
  EXPECT_TRUE(contents(folder_ / "all.h5") == contents(mine("self")));
}

TEST_F(CompressTest, CompressesZeros) {
  const std::vector<MatrixSource> zeros = {{"w", 20, 30, [](index_t, index_t, MatrixView<float> out) {
                                              for (index_t i = 0; i < out.rows; ++i)
                                                std::fill_n(out.row(i), out.cols, 0.0f);
                                            }}};
  for (const RankRule& rule : rules) {
    const CompressReport report = run(world_, zeros, {TileMode::tile, 8, rule, Codec::bf16}, folder_ / "all.h5");
    EXPECT_EQ(report.total.relative_error(), 0);
    world_.barrier();
  }
}

TEST_F(CompressTest, ReadsEveryTileOnce) {
  std::int64_t read[] = {0};
  std::vector<MatrixSource> sources = {source("w", 6, 37, 53)};
  sources[0].read = [&, inner = sources[0].read](index_t row, index_t col, MatrixView<float> out) {
    read[0] += out.rows * out.cols;
    inner(row, col, out);
  };
  run(world_, sources, {TileMode::tile, 8, {RankRule::Kind::topk, 0.5}, Codec::bf16}, folder_ / "all.h5");
  comm::all_reduce_sum(world_, std::span<std::int64_t>(read));
  EXPECT_EQ(read[0], 37 * 53);
}

/// The message of the error that every rank meets.
template <class F>
std::string message_of(F work) {
  try {
    work();
    return "(none)";
  } catch (const Error& error) {
    return error.what();
  }
}

/// A run that ends in its fourth step, and one that goes on: what the first finished is neither read nor factorized
/// again, and the archive is that of a run which nothing disturbed.
TEST_F(CompressTest, TakesFinishedStepsFromTheJournal) {
  const CompressOptions options{TileMode::tile, 16, {RankRule::Kind::topk, 0.5}, Codec::bf16};
  constexpr index_t rows = 1024, cols = 2048;  // more than a batch by itself
  std::vector<std::int64_t> read(4);           // numbers of each matrix
  std::vector<MatrixSource> sources;
  for (index_t m = 0; m < 4; ++m) {
    sources.push_back(source("w" + std::to_string(m), m, rows * world_.size(), cols));
    sources.back().read = [&read, m, inner = sources.back().read](index_t row, index_t col, MatrixView<float> out) {
      read[static_cast<std::size_t>(m)] += out.rows * out.cols;
      inner(row, col, out);
    };
  }
  const auto run_on = [&](const std::vector<MatrixSource>& from, comm::Journal* journal, const char* name) {
    Queue<Device::cpu> queue(1);
    compress(world_, queue, from, options, {{"0", "f", "{}", "plain", "{}"}, folder_ / name, {}, journal});
  };
  run_on(sources, nullptr, "whole.h5");

  std::vector<MatrixSource> broken = sources;
  broken[3].read = [](index_t, index_t, MatrixView<float>) { fail("the disk is gone"); };
  {
    comm::Journal journal(world_, folder_ / "parts", "key", true);
    EXPECT_EQ(message_of([&] { run_on(broken, &journal, "resumed.h5"); }), "the disk is gone");
  }
  std::ranges::fill(read, 0);
  comm::Journal journal(world_, folder_ / "parts", "key", true);
  ASSERT_GE(journal.steps(), 2);
  const auto finished = static_cast<std::size_t>(journal.steps());
  run_on(sources, &journal, "resumed.h5");
  for (std::size_t m = 0; m < read.size(); ++m) {
    EXPECT_EQ(read[m] > 0, m >= finished) << "matrix " << m;
  }
  EXPECT_EQ(contents(folder_ / "whole.h5"), contents(folder_ / "resumed.h5"));
  journal.remove();
}

TEST_F(CompressTest, NamesTheTileThatIsNotFiniteOnEveryRank) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<MatrixSource> sources = example();
    sources[2].read = [bad](index_t row, index_t col, MatrixView<float> out) {
      for (index_t i = 0; i < out.rows; ++i) std::fill_n(out.row(i), out.cols, 1.0f);
      if (row == 16 && col == 32) out(3, 2) = bad;
    };
    const CompressOptions options{TileMode::tile, 16, {RankRule::Kind::topk, 0.5}, Codec::bf16};
    const std::string message = message_of([&] { run(world_, sources, options, folder_ / "all.h5"); });
    EXPECT_NE(message.find("tensor down, tile (1, 2)"), std::string::npos) << message;
    world_.barrier();
    EXPECT_FALSE(std::filesystem::exists(folder_ / "all.h5"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "all.h5.hack-tmp"));
    world_.barrier();
  }
}

TEST_F(CompressTest, PassesErrorsOfOneRankToAll) {
  std::vector<MatrixSource> sources = example();
  sources[3].read = [](index_t, index_t, MatrixView<float>) { fail("the disk is gone"); };
  const CompressOptions options{TileMode::tile, 16, {RankRule::Kind::keep, 0.5}, Codec::bf16};
  EXPECT_EQ(message_of([&] { run(world_, sources, options, folder_ / "all.h5"); }), "the disk is gone");
}

TEST_F(CompressTest, RefusesDenseValuesThatDoNotFitTheType) {
  std::vector<MatrixSource> sources = {source("w", 1, 20, 20)};
  sources[0].read = [](index_t row, index_t col, MatrixView<float> out) {
    for (index_t i = 0; i < out.rows; ++i) {
      for (index_t j = 0; j < out.cols; ++j) out(i, j) = 1e5f * element(1, row + i, col + j);
    }
  };
  CompressOptions options{TileMode::tile, 16, {RankRule::Kind::topk, 0.9}, Codec::f16};
  const std::string message = message_of([&] { run(world_, sources, options, folder_ / "all.h5"); });
  EXPECT_NE(message.find("tensor w, tile (0, 0) does not fit f16"), std::string::npos) << message;
  world_.barrier();
  options.codec = Codec::bf16;
  EXPECT_NO_THROW(run(world_, sources, options, folder_ / "all.h5"));
}

TEST_F(CompressTest, ChecksItsArguments) {
  const std::vector<MatrixSource> twice = {source("w", 1, 4, 4), source("w", 2, 4, 4)};
  EXPECT_THROW(run(world_, twice, {}, folder_ / "all.h5"), Error);
  CompressOptions options;
  options.rule.value = 2;
  EXPECT_THROW(run(world_, example(), options, folder_ / "all.h5"), Error);
  options.rule.value = 0.5;
  options.tile = 0;
  EXPECT_THROW(run(world_, example(), options, folder_ / "all.h5"), Error);
}

TEST_F(CompressTest, TellsProgress) {
  std::vector<index_t> done;
  Queue<Device::cpu> queue(1);
  const std::vector<MatrixSource> sources = {source("w", 1, 64, 64)};
  const auto tell = [&](index_t tiles, index_t all, std::optional<int> slowest) {
    EXPECT_EQ(all, 256);
    EXPECT_LT(slowest.value_or(0), world_.size());
    done.push_back(tiles);
  };
  compress(world_, queue, sources, {TileMode::tile, 4, {}, Codec::bf16}, {{}, folder_ / "all.h5", tell});
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), 256);
}

}  // namespace
}  // namespace hack::svd
