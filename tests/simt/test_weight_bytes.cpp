// Bytes of weights that a decoded token reads: as many as the weights have, for products are as fast as these come.
// Each byte that a block reads counts once.

#include <gtest/gtest.h>

#include "tests/gpu/device_factors.hpp"
#include "tests/simt/decoded_token.hpp"
#include "tests/simt/emulator.hpp"

namespace hack::model {
namespace {

constexpr Device G = Device::cuda;

/// Bytes of weights that `work` reads.
template <class Work>
index_t bytes_read(const Work& work) {
  const index_t before = simt::weight_bytes;
  simt::counts_weights = true;
  work();
  simt::counts_weights = false;
  return simt::weight_bytes - before;
}

void expect_near(index_t read, index_t bytes) {
  EXPECT_GE(read, bytes);
  EXPECT_LE(static_cast<double>(read), 1.01 * static_cast<double>(bytes));
}

index_t bytes_of(const std::vector<std::byte>& codes, const std::vector<std::byte>& scales) {
  return std::ssize(codes) + std::ssize(scales);
}

TEST(WeightBytes, OfADenseProductAreTheMatrix) {
  constexpr index_t rows = 64, cols = 1024;
  const tests::DeviceMatrix<> x(tests::random_floats(cols, 4), 1, cols);
  tests::DeviceMatrix<> y(1, rows);
  Queue<G> queue(1);
  for (Codec codec : tests::all_codecs()) {
    SCOPED_TRACE(to_string(codec));
    const tests::RandomWeights w(rows, cols, codec, 1);
    const tests::DeviceWeights there(w.view);
    expect_near(bytes_read([&] { kernels::linear<G>(queue, x.in(), there.view(), y.view()); }),
                bytes_of(w.encoded.codes, w.encoded.scales));
  }
}

TEST(WeightBytes, OfAProductWithTilesAreTheTerms) {
  constexpr index_t rows = 256, cols = 512;
  const tests::DeviceMatrix<> x(tests::random_floats(cols, 4), 1, cols);
  tests::DeviceMatrix<> y(1, rows);
  Queue<G> queue(1);
  for (Codec codec : tests::term_codecs()) {
    for (const tests::Form& form : {tests::factors(64), tests::interpolative(64), tests::dense}) {
      SCOPED_TRACE(::testing::Message() << to_string(codec) << ", structure " << static_cast<int>(form.kind));
      // One tile is of another kind, or all would be one matrix.
      const tests::RandomFactors w(rows, cols, 128, codec, [&](index_t i, index_t j) {
        return i + j == 0 && form.kind == kernels::Structure::dense ? tests::factors(64) : form;
      });
      const tests::DeviceFactors there(w);
      expect_near(bytes_read([&] { kernels::factored_linear<G>(queue, x.in(), there.view(), y.view()); }),
                  bytes_of(w.u_bytes, w.u_scales) + bytes_of(w.v_bytes, w.v_scales) + 4 * std::ssize(w.scale));
    }
  }
}

/// Of a token behind others, by layers.
index_t bytes_of_a_token(index_t layers, bool is_factored) {
  tests::TinyFiles files(tests::aligned_model(layers));
  if (is_factored) {
    files.compress(
        {svd::TileMode::tile, 64, {svd::RankRule::Kind::topk, 0.25}, Codec::bf16, kernels::Structure::low_rank},
        "mlp.");
  }
  return tests::while_decoding(files, [](const auto& decode) { return bytes_read(decode); });
}

TEST(WeightBytes, OfALayerAreItsMatrices) {
  constexpr index_t attention = 2 * 192 * (64 + 32 + 32 + 64), mlp = 3 * 192 * 256;
  expect_near(bytes_of_a_token(2, false) - bytes_of_a_token(1, false), attention + 2 * mlp);
  // Tiles of 64 with 16 singular values.
  constexpr index_t tiles = mlp / (64 * 64);
  expect_near(bytes_of_a_token(2, true) - bytes_of_a_token(1, true), attention + tiles * 16 * (2 * (64 + 64) + 4));
}

}  // namespace
}  // namespace hack::model
