// Matrices whose tiles are sums of terms, in several codecs.

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "svd/archive/dense_rows.hpp"
#include "svd/factored_matrix.hpp"
#include "tests/support/random_term.hpp"
#include "tests/support/stored_tile.hpp"

namespace hack::svd {
namespace {

using hack::testing::random_term;

/// A matrix in memory.
class OneMatrix final : public FactorSource {
 public:
  template <class TermsOf>
  OneMatrix(index_t rows, index_t cols, index_t tile, const TermsOf& terms_of)
      : table_{.grid = TileGrid(rows, cols, tile, tile)} {
    for (index_t n = 0; n < table_.grid.size(); ++n) tiles_.push_back({terms_of(table_.grid.tile(n))});
  }
  void add_whole(StoredTerm term) { whole_.push_back(std::move(term)); }

  const ArchiveInfo& info() const override { return info_; }
  const std::vector<std::string>& matrices() const override { return names_; }
  bool contains(std::string_view name) const override { return name == "w"; }
  const MatrixTable& matrix(std::string_view) const override { return table_; }
  std::vector<StoredTile> read_tiles(std::string_view, index_t i, index_t first, index_t last) const override {
    const auto row = tiles_.begin() + i * table_.grid.tile_cols();
    return {row + first, row + last};
  }
  std::vector<StoredTerm> read_whole_terms(std::string_view) const override { return whole_; }

  /// The matrix, in double.
  std::vector<double> values() const {
    std::vector<double> all(static_cast<std::size_t>(table_.grid.rows() * table_.grid.cols()));
    for (const StoredTerm& term : whole_) testing::add_values(term, all);
    for (index_t n = 0; n < table_.grid.size(); ++n) {
      const Tile at = table_.grid.tile(n);
      const std::vector<double> tile = testing::values_of(tiles_[static_cast<std::size_t>(n)], at);
      for (index_t i = 0; i < at.height; ++i) {
        for (index_t j = 0; j < at.width; ++j) {
          all[(at.row + i) * table_.grid.cols() + at.col + j] += tile[i * at.width + j];
        }
      }
    }
    return all;
  }

  index_t stored_bytes() const {
    std::size_t bytes = 0;
    for (const StoredTile& tile : tiles_) {
      for (const StoredTerm& term : tile.terms) bytes += term.bytes.size();
    }
    return static_cast<index_t>(bytes);
  }

 private:
  ArchiveInfo info_;
  MatrixTable table_;
  std::vector<std::string> names_{"w"};
  std::vector<StoredTile> tiles_;
  std::vector<StoredTerm> whole_;
};

std::vector<Codec> codecs_with_scales() {
  std::vector<Codec> codecs;
  for (const CodecSpec& spec : term_codec_specs) {
    if (has_scales(spec.codec)) codecs.push_back(spec.codec);
  }
  return codecs;
}

/// Products with a block of the matrix, against it in double: sums of a few hundred terms of order 1.
void check(const OneMatrix& source, Range rows, Range cols) {
  const index_t all_cols = source.matrix("w").grid.cols();
  const std::vector<double> values = source.values();
  const FactoredMatrix<Device::cpu> matrix(source, "w", rows, cols, DType::f32);
  ASSERT_EQ(matrix.rows(), rows.size());
  ASSERT_EQ(matrix.cols(), cols.size());
  Queue<Device::cpu> queue(2);
  for (index_t tokens : {1, 5, 20}) {
    std::vector<float> x(static_cast<std::size_t>(tokens * cols.size()));
    std::vector<float> y(static_cast<std::size_t>(tokens * rows.size()), NAN);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
    kernels::factored_sum<Device::cpu>(queue, MatrixView<const float>(x.data(), tokens, cols.size()), matrix.planes(),
                                       MatrixView<float>(y.data(), tokens, rows.size()));
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t i = 0; i < rows.size(); ++i) {
        double expected = 0;
        for (index_t j = 0; j < cols.size(); ++j) {
          expected += values[(rows.begin + i) * all_cols + cols.begin + j] * x[t * cols.size() + j];
        }
        ASSERT_NEAR(y[t * rows.size() + i], expected, 0.002) << tokens << " tokens, row " << i;
      }
    }
  }
}

/// The matrix multiplied out, against it in double.
void check_dense_rows(const OneMatrix& source) {
  Queue<Device::cpu> queue(2);
  DenseRows rows(source, "w", queue);
  const std::vector<double> values = source.values();
  const index_t cols = rows.grid().cols();
  for (index_t i = 0; i < rows.grid().tile_rows(); ++i) {
    const Tile first = rows.grid().tile(i, 0);
    std::vector<float> out(static_cast<std::size_t>(first.height * cols), NAN);
    rows.read(i, MatrixView<float>(out.data(), first.height, cols));
    for (std::size_t n = 0; n < out.size(); ++n) {
      // One rounding to f32, beside which those of double do not count.
      const double expected = values[static_cast<std::size_t>(first.row * cols) + n];
      ASSERT_NEAR(out[n], expected, 0x1.1p-24 * std::abs(expected) + 1e-12) << n;
    }
  }
}

TEST(FactoredPlanes, AddUpTermsOfTilesAndOfTheWholeMatrix) {
  const index_t rows = 150, cols = 130;
  for (const Codec codec : codecs_with_scales()) {
    SCOPED_TRACE(to_string(codec));
    OneMatrix source(rows, cols, 64, [&](const Tile& at) {
      const auto seed = static_cast<unsigned>(10 * at.i + at.j);
      const auto term = [&](Structure structure, Codec of_term, index_t k, unsigned number) {
        return random_term({structure, of_term, at.height, at.width, std::min({k, at.height, at.width})},
                           100 * number + seed);
      };
      std::vector<StoredTerm> terms;
      if (seed % 3 == 0) terms.push_back(term(Structure::dense, codec, 0, 1));
      if (seed % 3 != 1) terms.push_back(term(Structure::low_rank, codec, 9, 2));
      if (seed % 2 == 0) terms.push_back(term(Structure::interpolative, Codec::bf16, 17, 3));
      if (terms.empty()) terms.push_back(term(Structure::interpolative, codec, 11, 4));
      return terms;
    });
    check(source, {0, rows}, {0, cols});
    check_dense_rows(source);
    source.add_whole(random_term({Structure::low_rank, codec, rows, cols, 5}, 7));
    source.add_whole(random_term({Structure::low_rank, Codec::f16, rows, cols, 3}, 8));
    check(source, {0, rows}, {0, cols});
    source.add_whole(random_term({Structure::interpolative, codec, rows, cols, 4}, 9));
    source.add_whole(random_term({Structure::dense, codec, rows, cols, 0}, 10));
    check_dense_rows(source);
    check(source, {10, 141}, {std::max<index_t>(17, spec_of(codec).block), 101});
    check(source, {64, 65}, {0, cols});
    check(source, {5, 5}, {0, cols});
  }
}

TEST(FactoredPlanes, HoldCodecsWithScalesAsTheyAreStored) {
  for (const Codec codec : codecs_with_scales()) {
    for (const Structure structure : structures) {
      SCOPED_TRACE(::testing::Message() << to_string(codec) << " " << to_string(structure));
      const OneMatrix source(300, 260, 128, [&](const Tile& at) {
        return std::vector<StoredTerm>{
            random_term({structure, codec, at.height, at.width, std::min<index_t>(64, at.full_rank())}, 1)};
      });
      const FactoredMatrix<Device::cpu> matrix(source, "w", {0, 300}, {0, 260}, DType::f32);
      EXPECT_EQ(matrix.planes().size(), 1u);
      // Rows that are all skeleton rows have no marks in an archive.
      EXPECT_NEAR(matrix.bytes(), source.stored_bytes(), 0.001 * static_cast<double>(source.stored_bytes()));
      check(source, {0, 300}, {0, 260});
    }
  }
}

/// A matrix of dense tiles.
OneMatrix dense_matrix(index_t rows, index_t cols, index_t tile, Codec codec) {
  return {rows, cols, tile, [&](const Tile& at) {
            const auto seed = static_cast<unsigned>(10 * at.i + at.j);
            return std::vector<StoredTerm>{random_term({Structure::dense, codec, at.height, at.width, 0}, seed)};
          }};
}

TEST(FactoredPlanes, StackDenseTilesAsLongAsTheyBeginWithABlock) {
  for (const Codec codec : codecs_with_scales()) {
    SCOPED_TRACE(to_string(codec));
    const bool has_blocks = spec_of(codec).block > 0;
    for (const index_t cols : {256, 260}) {
      const OneMatrix source = dense_matrix(150, cols, 64, codec);
      check(source, {0, 150}, {0, cols});
      check(source, {3, 70}, {64, 250});
      const FactoredMatrix<Device::cpu> matrix(source, "w", {0, 150}, {0, cols}, DType::f32);
      EXPECT_EQ(matrix.planes()[0].as_matrix().has_value(), has_blocks);
    }
    const OneMatrix odd = dense_matrix(150, 260, 72, codec);  // tiles end within blocks of 32
    check(odd, {0, 150}, {0, 260});
    check(odd, {3, 70}, {72, 250});
    const FactoredMatrix<Device::cpu> matrix(odd, "w", {0, 150}, {0, 260}, DType::f32);
    EXPECT_FALSE(matrix.planes()[0].as_matrix());
    EXPECT_EQ(matrix.planes()[0].stack_sizes[0], has_blocks ? 72 : 0);
  }
}

TEST(FactoredPlanes, AreNotCutWithinBlocks) {
  for (const Codec codec : codecs_with_scales()) {
    if (spec_of(codec).block == 0) continue;
    const OneMatrix source = dense_matrix(40, 80, 80, codec);
    EXPECT_THROW(FactoredMatrix<Device::cpu>(source, "w", {0, 40}, {5, 80}, DType::f32), Error);
  }
}

}  // namespace
}  // namespace hack::svd
