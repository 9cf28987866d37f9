#include "svd/tile/tile_encoder.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "kernels/interpolative.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/archive/factor_archive.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/tile/encode_rows.hpp"
#include "svd/tile/encoded_term.hpp"
#include "svd/tile/int8_rows.hpp"
#include "kernels/cpu/factorize/linear_algebra.hpp"
#include "svd/tile/storage.hpp"
#include "tests/support/stored_tile.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::svd {
namespace {

using kernels::Structure;

/// A random tile of rank `inner` and its SVD; rows of very different size.
struct Example {
  Example(index_t h, index_t w, index_t inner) : at{0, 0, 0, 0, h, w}, r(std::min(h, w)) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    std::vector<float> left(h * inner), right(inner * w);
    for (float& x : left) x = normal(random);
    for (float& x : right) x = normal(random);
    values.resize(h * w);
    for (index_t i = 0; i < h; ++i) {
      const float size = std::pow(0.97f, static_cast<float>(i));
      for (index_t j = 0; j < w; ++j) {
        float sum = 0;
        for (index_t l = 0; l < inner; ++l) sum += left[i * inner + l] * right[l * w + j];
        values[i * w + j] = size * sum;
      }
    }
    u.resize(h * r), sigma.resize(r), vt.resize(r * w);
    Queue<Device::cpu> queue(1);
    const MatrixView<const float> in = view();
    kernels::TileSvd<Device::cpu> svd{{u.data(), h, r}, sigma.data(), {vt.data(), r, w}};
    kernels::tile_svd<Device::cpu>(queue, std::span(&in, 1), std::span(&svd, 1));
  }

  MatrixView<const float> view() const { return {values.data(), at.height, at.width}; }
  TileNumbers numbers() const {
    return {view(), {u.data(), at.height, r}, sigma.data(), {vt.data(), r, at.width}, sigma, {}};
  }

  /// What the tile stands for when stored this way, in double.
  std::vector<double> truncated(Structure kind, index_t k) const {
    if (kind == Structure::dense) return {values.begin(), values.end()};
    std::vector<double> out(values.size(), 0.0);
    for (index_t i = 0; i < at.height; ++i) {
      for (index_t l = 0; l < k; ++l) {
        const double factor = double{u[i * r + l]} * sigma[l];
        for (index_t j = 0; j < at.width; ++j) out[i * at.width + j] += factor * vt[l * at.width + j];
      }
    }
    return out;
  }

  Tile at;
  index_t r;
  std::vector<float> values, u, sigma, vt;
};

MatrixPart encode(const Example& example, const TileNumbers& numbers, Structure kind, index_t k, Codec type) {
  Queue<Device::cpu> queue(1);
  MatrixPart part{.name = "w",
                  .grid = TileGrid(example.at.height, example.at.width, example.at.height, example.at.width)};
  const TileChoice choice{kind, static_cast<std::int32_t>(k), 1.0, 0.0};
  append_tiles(queue, part, std::span(&choice, 1), std::span(&numbers, 1), type);
  return part;
}

/// The tile's numbers after the way through a file.
std::vector<double> stored(const Example& example, const TileNumbers& numbers, Structure kind, index_t k) {
  const testing::TemporaryDirectory folder;
  const comm::Communicator self = comm::Communicator::self();
  FactorArchiveWriter writer(self, folder / "a.h5", {{}, {TileMode::full, 1, {}, Codec::int8}});
  writer.write(encode(example, numbers, kind, k, Codec::int8));
  writer.finish();
  return hack::testing::values_of(FactorArchive(folder / "a.h5").read_tiles("w", 0, 0, 1).front(), example.at);
}

double relative_error(const std::vector<double>& x, const std::vector<double>& expected,
                      std::span<const double> weights = {}) {
  double error = 0, norm = 0;
  for (std::size_t n = 0; n < x.size(); ++n) {
    const double weight = weights.empty() ? 1 : weights[n % weights.size()];
    error += weight * std::pow(x[n] - expected[n], 2);
    norm += weight * expected[n] * expected[n];
  }
  return norm == 0 ? std::sqrt(error) : std::sqrt(error / norm);
}

TEST(Int8Rows, RoundsHandComputedRows) {
  const float x[] = {127, -63.6f, 0.4f, 0, 0, 0, -254, 1, 3};
  std::vector<std::int8_t> codes(9);
  std::vector<bf16> scales(3);
  const Int8Rows rows{codes.data(), scales.data()};
  const std::vector<double> ones(3, 1.0);
  round_rows({x, 3, 3}, ones, rows);
  const std::int8_t expected[] = {127, -64, 0, 0, 0, 0, -127, 0, 2};  // 1 / 2 and 3 / 2 go to the even one
  EXPECT_TRUE(std::equal(std::begin(expected), std::end(expected), rows.numbers));
  EXPECT_EQ(to_float(rows.scales[0]), 1);
  EXPECT_EQ(to_float(rows.scales[1]), 0);
  EXPECT_EQ(to_float(rows.scales[2]), 2);
}

TEST(Int8Rows, CutsOffANumberThatCostsLittle) {
  std::vector<float> x(512), out(512);
  for (std::size_t c = 0; c < x.size(); ++c) x[c] = std::sin(static_cast<float>(c));
  x[9] = 1.25f;
  std::vector<double> weights(512, 1.0);
  std::vector<std::int8_t> codes(512);
  std::vector<bf16> scales(1);
  const Int8Rows rows{codes.data(), scales.data()};
  round_rows({x.data(), 1, 512}, weights, rows);
  EXPECT_EQ(rows.scales[0].bits, to_bf16(1.25f / 127).bits);
  weights[9] = 0;
  round_rows({x.data(), 1, 512}, weights, rows);
  EXPECT_LT(to_float(rows.scales[0]), 1.1f / 127);
  EXPECT_EQ(rows.numbers[9], 127);
  widen_rows(rows.numbers, rows.scales, {out.data(), 1, 512});
  for (std::size_t c = 0; c < x.size(); ++c) {
    if (c == 9) continue;
    // half a step, and what is cut off of numbers up to 1 by a scale that bf16 rounds by 2^-9
    EXPECT_NEAR(out[c], x[c], 0.5f * 1.25f / 127 + 0x1p-9f);
  }
}

TEST(TileEncoder, StoresEveryKindAndRankAsIntegersWithinABound) {
  for (const auto& [h, w] : {std::pair<index_t, index_t>{128, 128}, {128, 64}, {61, 97}}) {
    const Example example(h, w, std::min(h, w));
    for (Structure kind : {Structure::interpolative, Structure::low_rank, Structure::dense}) {
      for (index_t k : {index_t{0}, index_t{1}, 35 * example.r / 64, example.r}) {
        const std::vector<double> values = stored(example, example.numbers(), kind, k);
        // A number is off by at most half a step of its row, max |x| / 254: about 3.5 σ / 254 / √3 = 0.8 % of the row's
        // root mean square for normal numbers. Two factors add up, 1.2 %; interpolative tiles spread their skeleton
        // rows' error and make up for some of it.
        EXPECT_LE(relative_error(values, example.truncated(kind, k)), 0.012)
            << h << " x " << w << ", kind " << static_cast<int>(kind) << ", rank " << k;
      }
    }
  }
}

/// Error of an interpolative tile of rank k whose P and C are rounded as they are.
double error_number_by_number(const Example& example, index_t k) {
  const index_t h = example.at.height, w = example.at.width;
  Queue<Device::cpu> queue(1);
  std::vector<std::uint8_t> marks(kernels::mark_bytes(h));
  std::vector<float> p(k * w), c((h - k) * k);
  const TileNumbers numbers = example.numbers();
  kernels::InterpolativeTile<Device::cpu> tile{{numbers.u.data, h, k, numbers.u.ld},
                                               numbers.sigma,
                                               {numbers.vt.data, k, w, w},
                                               marks.data(),
                                               {p.data(), k, w},
                                               {c.data(), h - k, k}};
  kernels::interpolate_tiles<Device::cpu>(queue, std::span(&tile, 1));
  EncodedTerm encoded(TermArrays(Structure::interpolative, Codec::int8, h, w, k));
  const std::vector<double> ones(std::max(w, k), 1.0);
  encode_rows(Codec::int8, tile.coefficients, std::span(ones).first(k), encoded.codes(0), encoded.scales(0));
  encode_rows(Codec::int8, tile.skeleton, std::span(ones).first(w), encoded.codes(1), encoded.scales(1));
  std::copy(marks.begin(), marks.end(), reinterpret_cast<std::uint8_t*>(encoded.codes(2)));
  StoredTile rounded{{{Structure::interpolative, Codec::int8, static_cast<std::int32_t>(k), h, w, {}}}};
  encoded.append_to(rounded.terms.front().bytes);
  return relative_error(hack::testing::values_of(rounded, example.at), example.truncated(Structure::interpolative, k));
}

TEST(TileEncoder, MakesUpForRoundedSkeletons) {
  const Example example(128, 128, 128);
  for (index_t k : {10, 40, 70}) {
    const double plain = error_number_by_number(example, k);
    const double together = relative_error(stored(example, example.numbers(), Structure::interpolative, k),
                                           example.truncated(Structure::interpolative, k));
    RecordProperty("rank_" + std::to_string(k), std::to_string(plain) + " " + std::to_string(together));
    EXPECT_LT(together, 0.95 * plain) << k;
  }
}

TEST(TileEncoder, LeavesDependentSkeletonsAlone) {
  // Of rank 12, stored with rank 40: 28 of the skeleton rows depend on the others.
  const Example example(96, 80, 12);
  EXPECT_LE(relative_error(stored(example, example.numbers(), Structure::interpolative, 40),
                           example.truncated(Structure::interpolative, 40)),
            0.012);
  Example zeros(20, 30, 5);
  std::fill(zeros.sigma.begin(), zeros.sigma.end(), 0.0f);
  EXPECT_EQ(relative_error(stored(zeros, zeros.numbers(), Structure::interpolative, 7),
                           zeros.truncated(Structure::interpolative, 7)),
            0);
}

TEST(TileEncoder, SpendsPrecisionWhereColumnsWeigh) {
  const Example example(128, 128, 128);
  std::vector<double> weights(128, 1.0);
  for (std::size_t c = 0; c < weights.size(); c += 16) weights[c] = 1e4;
  for (Structure kind : {Structure::interpolative, Structure::low_rank, Structure::dense}) {
    TileNumbers numbers = example.numbers();
    const std::vector<double> expected = example.truncated(kind, 70);
    const double without = relative_error(stored(example, numbers, kind, 70), expected, weights);
    numbers.column_weights = weights;
    EXPECT_LT(relative_error(stored(example, numbers, kind, 70), expected, weights), without) << static_cast<int>(kind);
  }
}

TEST(TileEncoder, RefusesNumbersThatIntegersCannotStandFor) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38f}) {
    Example example(12, 10, 10);
    example.values[5] = bad;
    EXPECT_THROW(encode(example, example.numbers(), Structure::dense, 10, Codec::int8), Error);
  }
}

TEST(TileEncoder, StoresCodesAsTheyWereFound) {
  std::mt19937 random(9);
  for (const CodecSpec& spec : term_codec_specs) {
    if (spec.block == 0) continue;
    const BlockGrid grid(spec.codec);
    // Two rows, whose last block is short, within longer rows.
    const index_t ld = 47, scales_ld = 3, h = 2, w = 40;
    std::vector<std::uint8_t> codes;
    std::vector<BlockScale> scales;
    for (index_t i = 0; i < h * ld; ++i)
      codes.push_back(static_cast<std::uint8_t>(random() % static_cast<unsigned>(grid.count())));
    for (index_t b = 0; b < h * scales_ld; ++b) scales.push_back(grid.rounded(0.01 * static_cast<double>(b + 1), -0.3));
    MatrixPart part{.name = "w", .grid = TileGrid(h, w, h, w), .has_spectra = false};
    const std::vector<float> values(h * w);
    TileNumbers numbers{.values = {values.data(), h, w}};
    numbers.codes = {codes.data(), ld, scales.data(), scales_ld};
    const TileChoice choice{Structure::dense, static_cast<std::int32_t>(h)};
    Queue<Device::cpu> queue(1);
    append_tiles(queue, part, std::span(&choice, 1), std::span(&numbers, 1), spec.codec);
    std::vector<float> out(h * w);
    part.stored_tiles().front().terms.front().left().widen_to(out.data());
    for (index_t r = 0; r < h; ++r) {
      for (index_t c = 0; c < w; ++c) {
        const double expected = grid.value_of(codes[r * ld + c], scales[r * scales_ld + c / spec.block]);
        EXPECT_FLOAT_EQ(out[r * w + c], static_cast<float>(expected)) << spec.name;
      }
    }
  }
}

TEST(TileEncoder, TakesAboutHalfTheBytesAsIntegers) {
  for (const auto& [rows, cols] : {std::pair<index_t, index_t>{1536, 576}, {576, 1536}}) {
    const TileGrid grid(rows, cols, 128, 128);
    index_t integers = 0, halves = 0;
    for (index_t t = 0; t < grid.size(); ++t) {
      const Tile tile = grid.tile(t);
      const index_t k = 70 * tile.full_rank() / 128;
      integers += stored_bytes(Structure::interpolative, tile.height, tile.width, k, Codec::int8);
      halves += stored_bytes(Structure::interpolative, tile.height, tile.width, k, Codec::bf16);
    }
    EXPECT_LE(static_cast<double>(integers), 0.52 * static_cast<double>(halves));
  }
  // 128 rows of C and P together, a scale of 2 bytes each
  EXPECT_EQ(stored_bytes(Structure::interpolative, 128, 128, 70, Codec::int8), 70 * 186 + 256 + 16 + 5);
  EXPECT_EQ(stored_bytes(Structure::interpolative, 128, 128, 0, Codec::int8), 5);
  EXPECT_EQ(stored_bytes(Structure::low_rank, 128, 96, 10, Codec::int8), 10 * 224 + 2 * 138 + 40 + 5);
  EXPECT_EQ(stored_bytes(Structure::dense, 128, 96, 10, Codec::int8), 128 * 96 + 256 + 5);
  EXPECT_EQ(dense_bytes(128, 96, Codec::int8), 2 * 128 * 96);
}

}  // namespace
}  // namespace hack::svd
