#include "kernels/factored_linear.hpp"

#include <gtest/gtest.h>

#include "kernels/cpu/linear/bf16_product.hpp"
#include "kernels/cpu/linear/matvec.hpp"
#include "tests/kernels/random_factors.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;
using tests::view_of;

using tests::dense;
using tests::factors;
using tests::interpolative;
using Form = tests::Form;

struct RandomFactors : tests::RandomFactors {
  using tests::RandomFactors::RandomFactors;

  Products products = Products::exact;

  std::vector<float> run(int threads, const std::vector<float>& x, index_t tokens) const {
    std::vector<float> y(static_cast<std::size_t>(tokens * view.rows), 5.0f);
    Queue<Device::cpu> queue(threads, products);
    factored_linear<Device::cpu>(queue, view_of(x, tokens, view.cols), view, view_of(y, tokens, view.rows));
    return y;
  }

  /// Two chained sums, of a tile's width and of a tile row's rank space, are off by at most
  /// (width + length + 3) · eps · Σ |U| s |Vᵀ| |x|; the f32 reference matrix adds eps of the same sum. Where x and z
  /// are rounded to bf16, each of them adds at most 2⁻⁸ of the sum, and each weight that is rounded, too.
  void check(index_t tokens) const {
    SCOPED_TRACE(testing::Message() << tokens << " tokens, " << view.rows << " x " << view.cols << " "
                                    << to_string(view.codec));
    const std::vector<float> x = random_floats(tokens * view.cols, 4);
    const std::vector<float> y = run(1, x, tokens);
    const bool rounds = is_multiplied_in_bf16(Queue<Device::cpu>(1, products), view.codec) && tokens > few_tokens;
    const double terms = static_cast<double>(view.cols + view.rank_space() + 4);
    const double bound = terms * tests::eps + (rounds ? (has_scales(view.codec) ? 4.02 : 2.01) / 256 : 0);
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t i = 0; i < view.rows; ++i) {
        double sum = 0, size = 0;
        for (index_t j = 0; j < view.cols; ++j) {
          sum += double{x[t * view.cols + j]} * matrix[i * view.cols + j];
          size += std::fabs(double{x[t * view.cols + j]}) * sizes[i * view.cols + j];
        }
        ASSERT_NEAR(y[t * view.rows + i], sum, bound * size) << t << ", " << i;
      }
    }
    EXPECT_EQ(run(2, x, tokens), y);
    EXPECT_EQ(run(3, x, tokens), y);
  }
};

TEST(FactoredLinear, MatchesTheMatrixItStandsFor) {
  for (Codec codec : tests::term_codecs()) {
    for (index_t tile : {16, 64, 100}) {
      for (index_t rows : {1, 17, 129, 300}) {
        for (index_t cols : {3, 64, 127}) {
          const RandomFactors w(rows, cols, tile, codec,
                                [&](index_t i, index_t j) { return factors((3 * i + 5 * j) % 7); });
          for (index_t tokens : {1, 3, 8, 9, 65}) w.check(tokens);
        }
      }
    }
  }
}

TEST(FactoredLinear, MatchesTheInterpolativeMatrixItStandsFor) {
  for (Codec codec : tests::term_codecs()) {
    for (index_t tile : {16, 64, 100}) {
      for (index_t rows : {1, 17, 129, 300}) {
        for (index_t cols : {3, 64, 127}) {
          const RandomFactors w(rows, cols, tile, codec,
                                [&](index_t i, index_t j) { return interpolative((31 * i + 15 * j) % 47); });
          for (index_t tokens : {1, 3, 8, 9, 65}) w.check(tokens);
        }
      }
    }
  }
}

TEST(FactoredLinear, MixesTilesOfAllKindsAndEmptyOnes) {
  const auto form_of = [](index_t i, index_t j) {
    if (i == 1) return i + j == 3 ? interpolative(0) : factors(0);  // a tile row of no rank
    if (j == 2) return factors(0);                                  // a tile column of no rank
    return (i + j) % 3 == 0 ? dense : (i + j) % 3 == 1 ? factors(5 * i + j) : interpolative(9 * i + j + 30);
  };
  for (Codec codec : tests::term_codecs()) {
    const RandomFactors w(200, 330, 64, codec, form_of);
    for (index_t tokens : {1, 2, 33, 600}) w.check(tokens);
  }
}

TEST(FactoredLinear, RoundsCodesToBf16WhereProductsMayBeFast) {
  if (!has_bf16_product()) GTEST_SKIP() << "this CPU has no product of bf16 numbers";
  for (Codec codec : {Codec::int8, Codec::q8_0, Codec::q4_0}) {
    RandomFactors w(200, 330, 64, codec, [](index_t i, index_t j) { return factors(5 * i + j + 9); });
    w.products = Products::fast;
    w.check(few_tokens + 1);
  }
}

TEST(FactoredLinear, TakesSkeletonsWithoutCoefficients) {
  // The one row is a skeleton row of both tiles.
  const RandomFactors w(1, 50, 32, DType::bf16, [](index_t, index_t) { return interpolative(9); });
  for (index_t tokens : {1, 40}) w.check(tokens);
}

TEST(FactoredLinear, TakesDenseTilesAlone) {
  for (Codec codec : tests::term_codecs()) {
    for (index_t tile : {32, 40, 64}) {  // of blocks of 32 some tiles begin and end within one
      const RandomFactors w(70, 150, tile, codec, [](index_t, index_t) { return dense; });
      for (index_t tokens : {1, 5, 40}) w.check(tokens);
    }
  }
}

TEST(FactoredLinear, TakesTheWholeMatrixAsOneTile) {
  for (Form form : {factors(250), interpolative(250)}) {
    const RandomFactors w(410, 390, 1000, DType::bf16, [&](index_t, index_t) { return form; });
    for (index_t tokens : {1, 6, 150}) w.check(tokens);
  }
}

TEST(FactoredLinear, SplitsALongRankSpaceOverGroupsOfTileRows) {
  // 24 tile rows of rank space 900 pass the bound on z, so that several groups are worked on.
  const RandomFactors w(24 * 4, 900, 300, DType::f32,
                        [](index_t, index_t j) { return j == 1 ? interpolative(300) : factors(300); });
  const RandomFactors many(20 * 30, 900, 30, DType::f32,
                           [](index_t, index_t j) { return j == 1 ? interpolative(30) : factors(30); });
  w.check(12);
  many.check(12);
}

TEST(FactoredLinear, GivesZerosWhereThereIsNoRank) {
  const RandomFactors w(40, 30, 16, DType::f32, [](index_t, index_t) { return factors(0); });
  for (index_t tokens : {1, 20}) {
    const std::vector<float> x = random_floats(tokens * 30, 1);
    EXPECT_EQ(w.run(2, x, tokens), std::vector<float>(static_cast<std::size_t>(tokens * 40), 0.0f));
  }
}

TEST(FactoredLinear, TakesMatricesWithoutRowsOrColumns) {
  for (index_t tokens : {0, 1, 20}) {
    const RandomFactors no_cols(5, 0, 16, DType::f32, [](index_t, index_t) { return factors(1); });
    EXPECT_EQ(no_cols.run(2, {}, tokens), std::vector<float>(static_cast<std::size_t>(tokens * 5), 0.0f));
    const RandomFactors no_rows(0, 5, 16, DType::f32, [](index_t, index_t) { return factors(1); });
    EXPECT_TRUE(no_rows.run(2, random_floats(tokens * 5, 1), tokens).empty());
  }
}

TEST(FactoredLinear, AddsUpThePlanesOfAMatrix) {
  // Tiles of two terms, of several codecs, some without a second one; and a term of the whole matrix, a tile by itself.
  const index_t rows = 150, cols = 130;
  const RandomFactors first(rows, cols, 64, Codec::int8, tests::every_form);
  const RandomFactors second(
      rows, cols, 64, Codec::bf16, [](index_t i, index_t j) { return factors(i == j ? 0 : 7 + i); }, 40);
  const RandomFactors whole(
      rows, cols, 1000, Codec::f32, [](index_t, index_t) { return factors(5); }, 60);
  const std::vector<FactoredView<Device::cpu>> planes = {first.view, second.view, whole.view};
  for (index_t tokens : {1, 5, 40}) {
    const std::vector<float> x = random_floats(tokens * cols, 4);
    const auto run = [&](int threads) {
      std::vector<float> y(static_cast<std::size_t>(tokens * rows), 5.0f);
      Queue<Device::cpu> queue(threads);
      factored_sum<Device::cpu>(queue, view_of(x, tokens, cols), planes, view_of(y, tokens, rows));
      return y;
    };
    std::vector<float> expected = first.run(1, x, tokens);
    for (const RandomFactors* plane : {&second, &whole}) {
      const std::vector<float> more = plane->run(1, x, tokens);
      for (std::size_t n = 0; n < expected.size(); ++n) expected[n] += more[n];
    }
    const std::vector<float> y = run(1);
    // Sums begin at y in another order; each plane's own are tested above.
    for (std::size_t n = 0; n < y.size(); ++n) {
      ASSERT_NEAR(y[n], expected[n], 1000 * tests::eps * static_cast<double>(cols)) << n;
    }
    EXPECT_EQ(run(2), y);
    EXPECT_EQ(run(3), y);
  }
}

}  // namespace
}  // namespace hack::kernels
