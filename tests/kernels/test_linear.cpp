#include "kernels/linear.hpp"

#include "kernels/cpu/linear/bf16_product.hpp"
#include "kernels/cpu/linear/matvec.hpp"

#include <array>

#include <gtest/gtest.h>

#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;
using tests::RandomWeights;
using tests::view_of;

void run(int threads, const std::vector<float>& x, const WeightView<>& w, index_t tokens, std::vector<float>& y,
         Write write, Products products = Products::exact) {
  Queue<Device::cpu> queue(threads, products);
  linear<Device::cpu>(queue, view_of(x, tokens, w.cols), w, view_of(y, tokens, w.rows), write);
}

/// x with bf16 weights in bf16, too: then nothing is rounded on a CPU that multiplies bf16 numbers.
std::vector<float> inputs_for(Codec codec, index_t size) {
  std::vector<float> x = random_floats(size, 2);
  if (codec == Codec::bf16 || has_scales(codec)) {
    for (float& value : x) value = to_float(to_bf16(value));
  }
  return x;
}

/// Compares with sums in f64. An f32 sum of k products in any order is off by at most k · eps · Σ |x w|, the final
/// addition to y by eps · |y| more.
void check(index_t tokens, index_t in, index_t out, Codec codec, Products products = Products::exact) {
  SCOPED_TRACE(testing::Message() << tokens << " tokens, " << out << " x " << in << " " << to_string(codec));
  const RandomWeights w(out, in, codec, 1);
  const std::vector<float> x = inputs_for(codec, tokens * in);
  // Weights that are rounded to bf16 on the way add 2⁻⁸ of the sum.
  const bool rounds = has_scales(codec) && is_multiplied_in_bf16(Queue<Device::cpu>(1, products), codec);
  const std::vector<float> before = random_floats(tokens * out, 3);
  std::vector<float> replaced = before;
  std::vector<float> added = before;
  run(1, x, w.view, tokens, replaced, Write::replace, products);
  run(1, x, w.view, tokens, added, Write::add, products);
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t i = 0; i < out; ++i) {
      double sum = 0;
      double size = 0;
      for (index_t p = 0; p < in; ++p) {
        const double product = double{x[t * in + p]} * w.values[i * in + p];
        sum += product;
        size += std::fabs(product);
      }
      const index_t at = t * out + i;
      const double bound = (static_cast<double>(in + 1) * tests::eps + (rounds ? 1.01 / 256 : 0)) * size;
      ASSERT_NEAR(replaced[at], sum, bound) << t << ", " << i;
      ASSERT_NEAR(added[at], before[at] + sum, bound + tests::eps * (std::fabs(before[at]) + size)) << t << ", " << i;
    }
  }
  for (int threads : {2, 3}) {
    std::vector<float> again = before;
    run(threads, x, w.view, tokens, again, Write::replace, products);
    ASSERT_EQ(again, replaced) << threads << " threads";
    again = before;
    run(threads, x, w.view, tokens, again, Write::add, products);
    ASSERT_EQ(again, added) << threads << " threads";
  }
}

/// Each pair of tokens and inputs with two of the numbers of outputs, each pair of inputs and outputs with some tokens.
TEST(Linear, MatchesNaiveSumsAtOddSizes) {
  const std::array<index_t, 6> outs = {1, 65, 3, 128, 17, 193};
  for (Codec codec : tests::all_codecs()) {
    std::size_t turn = 0;
    for (index_t tokens : {1, 2, 3, 4, 7, 8, 9, 15, 65}) {
      for (index_t in : {1, 3, 17, 63, 64, 129, 330}) {
        check(tokens, in, outs[turn % outs.size()], codec);
        check(tokens, in, outs[(turn + 3) % outs.size()], codec);
        ++turn;
      }
    }
  }
}

TEST(Linear, MatchesNaiveSumsOverSeveralBlocks) {
  check(300, 641, 390, Codec::bf16);
  for (Codec codec : tests::all_codecs()) {
    check(40, 641, 390, codec);
    check(1030, 65, 129, codec);
    check(1, 1536, 577, codec);
  }
}

TEST(Linear, RoundsCodesToBf16WhereProductsMayBeFast) {
  if (!has_bf16_product()) GTEST_SKIP() << "this CPU has no product of bf16 numbers";
  for (Codec codec : tests::all_codecs()) {
    if (has_scales(codec)) check(few_tokens + 1, 641, 390, codec, Products::fast);
  }
}

TEST(Linear, RoundsManyTokensToTheTypeOfBf16Weights) {
  if (!has_bf16_product()) GTEST_SKIP() << "this CPU has no product of bf16 numbers";
  const index_t tokens = 31, in = 333, out = 77;
  const RandomWeights w(out, in, DType::bf16, 1);
  std::vector<float> exact = random_floats(tokens * in, 2);
  exact[5] = 3e38f;
  exact[400] = -0.0f;
  std::vector<float> rounded = exact;
  for (float& value : rounded) value = to_float(to_bf16(value));
  std::vector<float> y(static_cast<std::size_t>(tokens * out)), expected = y;
  run(1, exact, w.view, tokens, y, Write::replace);
  run(1, rounded, w.view, tokens, expected, Write::replace);
  EXPECT_EQ(y, expected);
}

/// Products of one unit, of blocks of a view, against sums in double; and the bits of rows taken alone.
void check_unit(Bf16Unit unit, index_t m, index_t n, index_t k) {
  SCOPED_TRACE(testing::Message() << (unit == Bf16Unit::amx ? "AMX " : "AVX-512 ") << m << " x " << n << " x " << k);
  const RandomWeights w(n, k, DType::bf16, 1);
  const std::vector<float> x = inputs_for(Codec::bf16, m * k);  // exact in bf16
  Queue<Device::cpu> queue(1);
  const RoundedRows rounded(queue, view_of(x, m, k));
  std::vector<float> y = random_floats(m * (n + 3), 4), once = y, rows = y;
  multiply_transposed_bf16(unit, rounded.view(), w.view, {y.data(), m, n, n + 3}, Write::add);
  for (index_t i = 0; i < m; ++i) {
    for (index_t j = 0; j < n; ++j) {
      double sum = once[i * (n + 3) + j], size = std::fabs(sum);
      for (index_t p = 0; p < k; ++p) {
        sum += double{x[i * k + p]} * w.values[j * k + p];
        size += std::fabs(double{x[i * k + p]} * w.values[j * k + p]);
      }
      ASSERT_NEAR(y[i * (n + 3) + j], sum, static_cast<double>(k + 2) * tests::eps * size) << i << ", " << j;
    }
    for (index_t j = n; j < n + 3; ++j) ASSERT_EQ(y[i * (n + 3) + j], once[i * (n + 3) + j]);
    const index_t cut = n / 3;  // of the columns
    const MatrixView<float> row{rows.data() + i * (n + 3), 1, n, n + 3};
    multiply_transposed_bf16(unit, rounded.view().rows_from(i, 1), w.view.rows_from(0, cut), row.block(0, 0, 1, cut),
                             Write::add);
    multiply_transposed_bf16(unit, rounded.view().rows_from(i, 1), w.view.rows_from(cut, n - cut),
                             row.block(0, cut, 1, n - cut), Write::add);
  }
  EXPECT_EQ(rows, y);
}

TEST(Linear, EveryUnitOfBf16ProductsAddsUpWhatItShould) {
  for (const Bf16Unit unit : {Bf16Unit::avx512, Bf16Unit::amx}) {
    if (!has_bf16_unit(unit)) continue;
    for (index_t m : {1, 15, 16, 17, 32, 33, 47}) {
      for (index_t n : {3, 32, 70}) check_unit(unit, m, n, 65);
    }
    for (index_t k : {1, 2, 31, 32, 33, 640, 650, 1300}) check_unit(unit, 35, 34, k);
    check_unit(unit, 33, 390, 40);
  }
  if (!has_bf16_product()) GTEST_SKIP() << "this CPU has no product of bf16 numbers";
}

TEST(Linear, ReadsAndWritesViewsWithALeadingDimension) {
  for (index_t tokens : {1, 20}) {
    const index_t in = 37;
    const index_t out = 21;
    const RandomWeights w(out, in + 5, DType::bf16, 1);
    const std::vector<float> x = inputs_for(Codec::bf16, tokens * (in + 3));
    std::vector<float> y(static_cast<std::size_t>(tokens * (out + 2)), 7.0f);
    Queue<Device::cpu> queue(2);
    linear<Device::cpu>(queue, {x.data(), tokens, in, in + 3}, {w.bytes.data(), Codec::bf16, out, in, in + 5},
                        {y.data(), tokens, out, out + 2});
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t i = 0; i < out; ++i) {
        double sum = 0;
        for (index_t p = 0; p < in; ++p) sum += double{x[t * (in + 3) + p]} * w.values[i * (in + 5) + p];
        ASSERT_NEAR(y[t * (out + 2) + i], sum, in * tests::eps * in);
      }
      EXPECT_EQ(y[t * (out + 2) + out], 7.0f);
      EXPECT_EQ(y[t * (out + 2) + out + 1], 7.0f);
    }
  }
}

TEST(Linear, SumsOfNothingAreZero) {
  Queue<Device::cpu> queue(2);
  for (index_t tokens : {1, 12}) {
    std::vector<float> y(static_cast<std::size_t>(tokens * 5), 3.0f);
    linear<Device::cpu>(queue, {nullptr, tokens, 0}, {nullptr, Codec::f32, 5, 0, 0}, view_of(y, tokens, 5), Write::add);
    EXPECT_EQ(y, std::vector<float>(y.size(), 3.0f));
    linear<Device::cpu>(queue, {nullptr, tokens, 0}, {nullptr, Codec::f32, 5, 0, 0}, view_of(y, tokens, 5));
    EXPECT_EQ(y, std::vector<float>(y.size(), 0.0f));
  }
  linear<Device::cpu>(queue, {nullptr, 0, 4}, {nullptr, Codec::f32, 5, 4, 4}, {nullptr, 0, 5});
}

TEST(Linear, RefusesShapesThatDoNotFit) {
  Queue<Device::cpu> queue(1);
  const RandomWeights w(3, 4, DType::f32, 1);
  std::vector<float> x(10), y(6);
  EXPECT_THROW(linear<Device::cpu>(queue, view_of(x, 2, 5), w.view, view_of(y, 2, 3)), Error);
}

TEST(AddBias, AddsToEveryRow) {
  Queue<Device::cpu> queue(2);
  std::vector<float> y = {1, 2, 3, 4, 5, 6};
  const std::vector<float> bias = {10, 20, 30};
  add_bias<Device::cpu>(queue, bias.data(), view_of(y, 2, 3));
  EXPECT_EQ(y, (std::vector<float>{11, 22, 33, 14, 25, 36}));
}

TEST(CudaStub, SaysWhyThereIsNoCuda) {
  if (is_available(Device::cuda)) GTEST_SKIP() << "this build has CUDA";
  EXPECT_THROW((Buffer<float, Device::cuda>(4)), Error);
  EXPECT_THROW(Queue<Device::cuda>(1), Error);
}

}  // namespace
}  // namespace hack::kernels
