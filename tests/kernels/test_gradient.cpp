#include "kernels/gradient.hpp"

#include <gtest/gtest.h>

#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::eps;
using tests::random_floats;
using tests::view_of;

constexpr Device cpu = Device::cpu;

/// Σ over `depth` of products of numbers in [-1, 1): each rounding is of a sum of at most `depth`.
double product_tolerance(index_t depth) { return static_cast<double>(depth * depth) / 2 * eps + 4 * eps; }

struct Shape {
  index_t tokens, out, in;
};
constexpr Shape shapes[] = {{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {130, 67, 19}, {0, 3, 4}};

TEST(WeightGradient, IsTheProductByPlainLoops) {
  for (const auto& [tokens, out, in] : shapes) {
    const std::vector<float> dy = random_floats(tokens * out, 1);
    const std::vector<float> x = random_floats(tokens * in, 2);
    std::vector<float> first;
    for (int threads : {1, 2, 3}) {
      Queue<cpu> queue(threads);
      std::vector<float> dw(static_cast<std::size_t>(out * in), 9.0f);
      weight_gradient<cpu>(queue, view_of(dy, tokens, out), view_of(x, tokens, in), view_of(dw, out, in));
      for (index_t i = 0; i < out; ++i) {
        for (index_t j = 0; j < in; ++j) {
          double sum = 0;
          for (index_t t = 0; t < tokens; ++t) sum += double{dy[t * out + i]} * x[t * in + j];
          ASSERT_NEAR(dw[i * in + j], sum, product_tolerance(tokens));
        }
      }
      if (threads == 1) first = dw;
      ASSERT_EQ(dw, first);
    }
  }
}

TEST(InputGradient, IsTheProductByPlainLoops) {
  for (const auto& [tokens, out, in] : shapes) {
    const std::vector<float> dy = random_floats(tokens * out, 1);
    const std::vector<float> w = random_floats(out * in, 2);
    std::vector<float> first;
    for (int threads : {1, 2, 3}) {
      Queue<cpu> queue(threads);
      std::vector<float> dx(static_cast<std::size_t>(tokens * in), 9.0f);
      input_gradient<cpu>(queue, view_of(dy, tokens, out), view_of(w, out, in), view_of(dx, tokens, in));
      for (index_t t = 0; t < tokens; ++t) {
        for (index_t j = 0; j < in; ++j) {
          double sum = 0;
          for (index_t i = 0; i < out; ++i) sum += double{dy[t * out + i]} * w[i * in + j];
          ASSERT_NEAR(dx[t * in + j], sum, product_tolerance(out));
        }
      }
      if (threads == 1) first = dx;
      ASSERT_EQ(dx, first);
    }
  }
}

/// To bf16.
std::vector<float> rounded(std::vector<float> x) {
  for (float& number : x) number = to_float(to_bf16(number));
  return x;
}

/// Products of numbers that are in bf16 already are those of f32, but for the order of sums. Of others the CPU makes
/// those of the rounded numbers, or leaves them in f32, in every bit.
TEST(RoundedProducts, AreThoseOfRoundedNumbers) {
  for (const auto& [tokens, out, in] : {Shape{17, 33, 65}, Shape{130, 67, 19}, Shape{70, 401, 7}, Shape{9, 1, 700}}) {
    Queue<cpu> queue(2);
    const auto compare = [&](index_t rows, index_t depth, index_t cols, const auto& product) {
      const std::vector<float> a = random_floats(rows, 1), b = random_floats(cols, 2);
      const std::vector<float> exact = product(rounded(a), rounded(b), DType::f32);
      const std::vector<float> same = product(rounded(a), rounded(b), DType::bf16);
      const std::vector<float> either = product(a, b, DType::bf16);
      EXPECT_TRUE(either == same || either == product(a, b, DType::f32));
      for (std::size_t i = 0; i < exact.size(); ++i) {
        ASSERT_NEAR(same[i], exact[i], product_tolerance(depth));
      }
    };
    compare(tokens * in, in, out * in, [&](const auto& x, const auto& w, DType type) {
      std::vector<float> y(static_cast<std::size_t>(tokens * out));
      layer_output<cpu>(queue, view_of(x, tokens, in), view_of(w, out, in), view_of(y, tokens, out), type);
      return y;
    });
    compare(tokens * out, tokens, tokens * in, [&](const auto& dy, const auto& x, DType type) {
      std::vector<float> dw(static_cast<std::size_t>(out * in));
      weight_gradient<cpu>(queue, view_of(dy, tokens, out), view_of(x, tokens, in), view_of(dw, out, in), type);
      return dw;
    });
    compare(tokens * out, out, out * in, [&](const auto& dy, const auto& w, DType type) {
      std::vector<float> dx(static_cast<std::size_t>(tokens * in));
      input_gradient<cpu>(queue, view_of(dy, tokens, out), view_of(w, out, in), view_of(dx, tokens, in), type);
      return dx;
    });
  }
}

TEST(LayerOutput, IsTheProductByPlainLoops) {
  for (const auto& [tokens, out, in] : shapes) {
    const std::vector<float> x = random_floats(tokens * in, 1), w = random_floats(out * in, 2);
    Queue<cpu> queue(2);
    std::vector<float> y(static_cast<std::size_t>(tokens * out), 9.0f);
    layer_output<cpu>(queue, view_of(x, tokens, in), view_of(w, out, in), view_of(y, tokens, out));
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t i = 0; i < out; ++i) {
        double sum = 0;
        for (index_t j = 0; j < in; ++j) sum += double{x[t * in + j]} * w[i * in + j];
        ASSERT_NEAR(y[t * out + i], sum, product_tolerance(in));
      }
    }
  }
}

TEST(SwigluGradient, MatchesTheFormulaInF64) {
  for (index_t n : {1, 3, 17, 64, 301}) {
    const index_t tokens = 23;
    const std::vector<float> dout = random_floats(tokens * n, 1);
    std::vector<float> gate = random_floats(tokens * n, 2);
    for (float& a : gate) a *= 30;  // where exp is tiny and where it is huge
    gate[0] = 200;                  // beyond the range of exp
    gate.back() = -200;
    const std::vector<float> up = random_floats(tokens * n, 3);
    for (int threads : {1, 3}) {
      Queue<cpu> queue(threads);
      std::vector<float> out(gate.size()), d_gate = gate, d_up = up;
      swiglu_into<cpu>(queue, view_of(gate, tokens, n), view_of(up, tokens, n), view_of(out, tokens, n));
      swiglu_gradient<cpu>(queue, view_of(dout, tokens, n), view_of(d_gate, tokens, n), view_of(d_up, tokens, n));
      for (std::size_t i = 0; i < gate.size(); ++i) {
        const double a = gate[i];
        const double s = 1 / (1 + std::exp(-a));
        // exp 2 ulp, sum, quotient, products.
        ASSERT_NEAR(out[i], a * s * up[i], 8 * eps * std::fabs(a * s * up[i]) + 1e-37) << a;
        ASSERT_NEAR(d_up[i], dout[i] * a * s, 8 * eps * std::fabs(dout[i] * a * s) + 1e-37) << a;
        // 1 - s is good to the rounding of s, up to 4 eps, and 1 + a (1 - s) cancels.
        const double slope = s * (1 + a * (1 - s));
        const double terms = s * (1 + std::fabs(a) * (1 - s) + std::fabs(a) / 2);
        ASSERT_NEAR(d_gate[i], dout[i] * up[i] * slope, 8 * eps * terms * std::fabs(dout[i] * up[i]) + 1e-37) << a;
      }
    }
  }
}

TEST(OutputError, ScalesTheDifferenceAndSumsItsSquares) {
  for (index_t n : {1, 7, 8, 65}) {
    const std::vector<float> target = random_floats(40 * n, 1);
    const std::vector<float> before = random_floats(40 * n, 2);
    const std::vector<float> halves_and_twos = {0.5f, 2.0f, 1.0f, 4.0f, 0.25f};
    std::vector<float> some_weights;
    for (index_t t = 0; t < 40; ++t) some_weights.push_back(halves_and_twos[static_cast<std::size_t>(t % 5)]);
    for (const float* weights : {static_cast<const float*>(nullptr), std::as_const(some_weights).data()}) {
      Queue<cpu> queue(weights == nullptr ? 1 : 3);
      std::vector<float> y = before, squares(40);
      output_error<cpu>(queue, view_of(target, 40, n), weights, 0.25f, view_of(y, 40, n), squares.data());
      for (index_t t = 0; t < 40; ++t) {
        const float weight = weights == nullptr ? 1.0f : weights[t];
        double sum = 0;
        for (index_t i = t * n; i < (t + 1) * n; ++i) {
          const float difference = before[i] - target[i];
          ASSERT_EQ(y[i], weight * 0.25f * difference);
          sum += double{weight} * difference * difference;
        }
        ASSERT_NEAR(squares[t], sum, static_cast<double>(n) * eps * sum);
      }
    }
  }
}

TEST(FactorTiles, AreMultipliedAndDifferentiatedWhereTheyLie) {
  const index_t rows = 300, cols = 40;
  const std::vector<float> numbers = random_floats(20000, 1);
  const std::vector<float> dw = random_floats(rows * cols, 2);
  const struct {
    index_t row, col, h, k, w;
  } places[] = {{0, 0, 270, 9, 17}, {0, 17, 5, 5, 23}, {270, 0, 30, 1, 40}};  // one tile in two pieces
  std::vector<float> first_w, first_gradients;
  for (int threads : {1, 2, 3}) {
    std::vector<float> w(static_cast<std::size_t>(rows * cols), 7.0f), gradients(numbers.size());
    std::vector<FactorTile<cpu>> tiles;
    index_t at = 0;
    for (const auto& [row, col, h, k, width] : places) {
      tiles.push_back({row, col, MatrixView<const float>(numbers.data() + at, h, k),
                       MatrixView<const float>(numbers.data() + at + h * k, k, width),
                       MatrixView<float>(gradients.data() + at, h, k),
                       MatrixView<float>(gradients.data() + at + h * k, k, width)});
      at += k * (h + width);
    }
    Queue<cpu> queue(threads);
    multiply_factors<cpu>(queue, tiles, view_of(w, rows, cols));
    factor_gradients<cpu>(queue, view_of(dw, rows, cols), tiles);
    EXPECT_EQ(w[static_cast<std::size_t>(100 * cols + 30)], 7.0f);  // between the tiles
    for (const FactorTile<cpu>& tile : tiles) {
      const index_t h = tile.left.rows, k = tile.left.cols, width = tile.right.cols;
      const auto d = [&](index_t i, index_t j) { return double{dw[(tile.row + i) * cols + tile.col + j]}; };
      for (index_t i = 0; i < h; ++i) {
        for (index_t j = 0; j < width; ++j) {
          double sum = 0;
          for (index_t p = 0; p < k; ++p) sum += double{tile.left(i, p)} * tile.right(p, j);
          ASSERT_NEAR(w[(tile.row + i) * cols + tile.col + j], sum, product_tolerance(k));
        }
      }
      for (index_t p = 0; p < k; ++p) {
        for (index_t i = 0; i < h; ++i) {
          double sum = 0;
          for (index_t j = 0; j < width; ++j) sum += d(i, j) * tile.right(p, j);
          ASSERT_NEAR(tile.left_gradient(i, p), sum, product_tolerance(width));
        }
        for (index_t j = 0; j < width; ++j) {
          double sum = 0;
          for (index_t i = 0; i < h; ++i) sum += tile.left(i, p) * d(i, j);
          ASSERT_NEAR(tile.right_gradient(p, j), sum, product_tolerance(h));
        }
      }
    }
    if (threads == 1) first_w = w, first_gradients = gradients;
    ASSERT_EQ(w, first_w);
    ASSERT_EQ(gradients, first_gradients);
  }
}

TEST(Adam, FollowsThePaperInF64) {
  for (index_t n : {1, 5, 8, 40000}) {
    std::vector<double> x64(static_cast<std::size_t>(n)), mean64(x64), square64(x64);
    std::vector<float> x = random_floats(n, 1);
    x64.assign(x.begin(), x.end());
    std::vector<float> other = x, mean(x.size()), square(x.size()), other_mean(x.size()), other_square(x.size());
    for (int step = 1; step <= 5; ++step) {
      std::vector<float> gradient = random_floats(n, static_cast<unsigned>(10 + step));
      gradient[0] = 0;
      const AdamStep options{.rate = 0.01, .number = step};
      Queue<cpu> one(1), three(3);
      adam<cpu>(one, options, gradient.data(), mean.data(), square.data(), x.data(), n);
      adam<cpu>(three, options, gradient.data(), other_mean.data(), other_square.data(), other.data(), n);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double g = gradient[i];
        mean64[i] = 0.9 * mean64[i] + 0.1 * g;
        square64[i] = 0.999 * square64[i] + 0.001 * g * g;
        x64[i] -= 0.01 * (mean64[i] / (1 - std::pow(0.9, step))) /
                  (std::sqrt(square64[i] / (1 - std::pow(0.999, step))) + 1e-8);
        // A step is at most some 0.02, good to about 10 roundings of its own; x is rounded once a step.
        ASSERT_NEAR(x[i], x64[i], step * (20 * eps * 0.02 + eps)) << i;
      }
      ASSERT_EQ(x, other);
    }
  }
}

}  // namespace
}  // namespace hack::kernels
