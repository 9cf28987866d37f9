#include "svd/archive/selected_factors.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "svd/pipeline/compress.hpp"

namespace hack::svd {
namespace {

using comm::Communicator;

const ArchiveHeader header = {"0", "f", "{}", "plain", "{}"};

class SelectedFactorsTest : public ::testing::Test {
 protected:
  SelectedFactorsTest() {
    std::string name = (std::filesystem::temp_directory_path() / "hack-selected-XXXXXX").string();
    if (world_.is_root()) name = mkdtemp(name.data());
    comm::broadcast(world_, name);
    folder_ = name;
  }
  ~SelectedFactorsTest() override {
    world_.barrier();
    std::error_code ignored;
    if (world_.is_root()) std::filesystem::remove_all(folder_, ignored);
  }

  void make(const CompressOptions& options, const std::string& name) {
    Queue<Device::cpu> queue(2);
    compress(world_, queue, sources(), options, {header, folder_ / name});
  }

  /// Numbers of bf16, smooth with noise, a block of zeros among them.
  static std::vector<MatrixSource> sources() {
    const auto source = [](const std::string& name, index_t seed, index_t rows, index_t cols) {
      return MatrixSource{name, rows, cols, [=](index_t row, index_t col, MatrixView<float> out) {
                            for (index_t i = 0; i < out.rows; ++i) {
                              for (index_t j = 0; j < out.cols; ++j) out(i, j) = element(seed, row + i, col + j);
                            }
                          }};
    };
    return {source("gate", 1, 40, 27), source("up", 2, 40, 27), source("down", 3, 27, 40)};
  }
  static float element(index_t seed, index_t i, index_t j) {
    if (seed == 2 && i < 16 && j < 16) return 0;
    const auto hash = static_cast<std::uint32_t>((i * 73856093) ^ (j * 19349663) ^ (seed * 83492791));
    const float noise = static_cast<float>((hash * 2654435761u) >> 8) / 16777216.0f - 0.5f;
    const float smooth = std::sin(0.1f * static_cast<float>(i + seed)) * std::cos(0.07f * static_cast<float>(j));
    return to_float(to_bf16(smooth + 0.2f * noise));
  }

  std::vector<char> contents(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// The archive of kept vectors with these options, in f32 as factors.
  void keep_vectors(index_t rank, TileMode mode, const std::string& name) {
    CompressOptions options{
        mode, 16, {RankRule::Kind::max_rank, static_cast<double>(rank)}, Codec::f32, Structure::low_rank};
    options.values_type = DType::bf16;
    make(options, name);
  }

  Communicator world_ = Communicator::world();
  std::filesystem::path folder_;
};

void expect_equal(const StoredTile& tile, const StoredTile& expected) {
  ASSERT_EQ(tile.terms.size(), expected.terms.size());
  for (std::size_t t = 0; t < tile.terms.size(); ++t) {
    EXPECT_EQ(tile.terms[t].structure, expected.terms[t].structure);
    EXPECT_EQ(tile.terms[t].codec, expected.terms[t].codec);
    EXPECT_EQ(tile.terms[t].rank, expected.terms[t].rank);
    EXPECT_EQ(tile.terms[t].bytes, expected.terms[t].bytes);
  }
}

TEST_F(SelectedFactorsTest, AreWhatCompressionUnderTheSameRuleMakes) {
  using Kind = RankRule::Kind;
  for (const TileMode mode : {TileMode::tile, TileMode::full}) {
    keep_vectors(27, mode, "kept.h5");
    const FactorArchive kept(folder_ / "kept.h5");
    for (const RankRule& rule : {RankRule{Kind::topk, 0}, RankRule{Kind::topk, 0.4}, RankRule{Kind::topk, 0.9},
                                 RankRule{Kind::topk, 1}, RankRule{Kind::tolerance, 0.2}, RankRule{Kind::keep, 0.7}}) {
      for (const auto& [type, storage] : {std::pair{Codec::bf16, Structure::interpolative},
                                          {Codec::f32, Structure::low_rank},
                                          {Codec::int8, Structure::interpolative}}) {
        SCOPED_TRACE(std::string(to_string(rule.kind)) + " " + std::to_string(rule.value));
        make({mode, 16, rule, type, storage}, "made.h5");
        const SelectedFactors selected(kept, rule, {storage, type}, 2);
        write_selection(world_, selected, {"gate", "up", "down"}, header, folder_ / "selected.h5");
        EXPECT_TRUE(contents("selected.h5") == contents("made.h5"));

        const FactorArchive made(folder_ / "made.h5");
        const TileGrid& grid = made.matrix("up").grid;
        for (index_t i = 0; i < grid.tile_rows(); ++i) {
          const index_t first = grid.tile_cols() / 2;
          const std::vector<StoredTile> tiles = selected.read_tiles("up", i, first, grid.tile_cols());
          const std::vector<StoredTile> expected = made.read_tiles("up", i, first, grid.tile_cols());
          ASSERT_EQ(tiles.size(), expected.size());
          for (std::size_t t = 0; t < tiles.size(); ++t) expect_equal(tiles[t], expected[t]);
        }
        EXPECT_EQ(selected.matrix("up").bytes_factors, made.matrix("up").bytes_factors);
        world_.barrier();
      }
    }
  }
}

TEST_F(SelectedFactorsTest, ReadTheOriginalValuesBack) {
  keep_vectors(3, TileMode::tile, "kept.h5");
  const FactorArchive kept(folder_ / "kept.h5");
  const SelectedFactors all(kept, {RankRule::Kind::topk, 1}, {Structure::interpolative, Codec::f32}, 1);
  const StoredTile tile = all.read_tiles("down", 1, 2, 3).front();  // rows 16 to 26, columns 32 to 39
  ASSERT_EQ(tile.terms.front().bytes.size(), 11 * 8 * sizeof(float));
  const auto* values = reinterpret_cast<const float*>(tile.terms.front().bytes.data());
  for (index_t i = 0; i < 11; ++i) {
    for (index_t j = 0; j < 8; ++j) EXPECT_EQ(values[i * 8 + j], element(3, 16 + i, 32 + j));
  }
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(SelectedFactorsTest, SayWhatIsMissing) {
  keep_vectors(3, TileMode::tile, "kept.h5");
  const FactorArchive kept(folder_ / "kept.h5");
  const TileFormat format;
  const std::string few = message_of([&] { SelectedFactors(kept, {RankRule::Kind::topk, 0.5}, format, 1); });
  EXPECT_NE(few.find("takes 8 singular values"), std::string::npos) << few;
  EXPECT_NO_THROW(SelectedFactors(kept, {RankRule::Kind::topk, 0.2}, format, 1));

  make({TileMode::tile, 16, {RankRule::Kind::topk, 0.5}}, "made.h5");
  const FactorArchive made(folder_ / "made.h5");
  const std::string fixed = message_of([&] { SelectedFactors(made, {RankRule::Kind::topk, 0.2}, format, 1); });
  EXPECT_NE(fixed.find("topk 0.5"), std::string::npos) << fixed;
  EXPECT_NE(fixed.find("no others can be chosen"), std::string::npos) << fixed;
}

}  // namespace
}  // namespace hack::svd
