// Batched algebra in double on the device against plain loops, with members of several shapes in each batch.

#include "kernels/batched_algebra.hpp"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "tests/gpu/device_data.hpp"

namespace hack::kernels {
namespace {

constexpr Device G = Device::cuda;
using tests::DeviceMatrix;

/// A matrix of the host with plain loops.
struct Dense {
  index_t rows, cols;
  std::vector<double> numbers;

  Dense(index_t m, index_t n) : rows(m), cols(n), numbers(static_cast<std::size_t>(m * n)) {}
  double& operator()(index_t i, index_t j) { return numbers[static_cast<std::size_t>(i * cols + j)]; }
  double operator()(index_t i, index_t j) const { return numbers[static_cast<std::size_t>(i * cols + j)]; }
};

Dense random_dense(index_t m, index_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Dense out(m, n);
  for (double& number : out.numbers) number = normal(random);
  return out;
}

Dense transposed(const Dense& a) {
  Dense out(a.cols, a.rows);
  for (index_t i = 0; i < a.rows; ++i) {
    for (index_t j = 0; j < a.cols; ++j) out(j, i) = a(i, j);
  }
  return out;
}

Dense operator*(const Dense& a, const Dense& b) {
  Dense out(a.rows, b.cols);
  for (index_t i = 0; i < a.rows; ++i) {
    for (index_t j = 0; j < b.cols; ++j) {
      for (index_t l = 0; l < a.cols; ++l) out(i, j) += a(i, l) * b(l, j);
    }
  }
  return out;
}

/// In the device's memory, three numbers longer from row to row than it is.
class Placed {
 public:
  explicit Placed(const Dense& a) : matrix_(padded(a), a.rows, a.cols + 3), cols_(a.cols) {}

  MatrixView<double, G> view() { return matrix_.view().block(0, 0, matrix_.view().rows, cols_); }
  Dense host() {
    const std::vector<double> numbers = matrix_.host();
    Dense out(matrix_.view().rows, cols_);
    for (index_t i = 0; i < out.rows; ++i) {
      for (index_t j = 0; j < out.cols; ++j) out(i, j) = numbers[static_cast<std::size_t>(i * (cols_ + 3) + j)];
      for (index_t j = 0; j < 3; ++j) EXPECT_EQ(numbers[static_cast<std::size_t>(i * (cols_ + 3) + cols_ + j)], -7);
    }
    return out;
  }

 private:
  static std::vector<double> padded(const Dense& a) {
    std::vector<double> out;
    for (index_t i = 0; i < a.rows; ++i) {
      for (index_t j = 0; j < a.cols; ++j) out.push_back(a(i, j));
      out.insert(out.end(), 3, -7.0);
    }
    return out;
  }

  DeviceMatrix<double> matrix_;
  index_t cols_;
};

double largest_difference(const Dense& a, const Dense& b) {
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.cols, b.cols);
  double largest = 0;
  for (std::size_t i = 0; i < a.numbers.size(); ++i) {
    if (!(std::fabs(a.numbers[i] - b.numbers[i]) <= largest)) largest = std::fabs(a.numbers[i] - b.numbers[i]);
  }
  return largest;
}

// Sums of up to 80 products of normal numbers: 80 · 2⁻⁵³ times some tens.
constexpr double rounding = 1e-12;

TEST(GpuBatchedAlgebra, MultipliesMatricesOfSeveralShapes) {
  struct Shape {
    index_t m, n, k;
  };
  const Shape shapes[] = {{5, 7, 33}, {64, 3, 80}, {5, 7, 33}, {1, 1, 1}, {6, 9, 0}, {0, 4, 5}};
  Queue<G> queue(1);
  for (const Transpose op_a : {Transpose::no, Transpose::yes}) {
    for (const Transpose op_b : {Transpose::no, Transpose::yes}) {
      std::vector<Placed> placed;
      std::vector<Dense> expected;
      placed.reserve(18);
      std::vector<Product<G>> products;
      unsigned seed = 0;
      for (const auto& [m, n, k] : shapes) {
        const Dense a = random_dense(m, k, ++seed), b = random_dense(k, n, ++seed), c = random_dense(m, n, ++seed);
        Dense sum = a * b;
        for (std::size_t i = 0; i < sum.numbers.size(); ++i) sum.numbers[i] = 2 * sum.numbers[i] - c.numbers[i];
        expected.push_back(sum);
        placed.emplace_back(op_a == Transpose::yes ? transposed(a) : a);
        placed.emplace_back(op_b == Transpose::yes ? transposed(b) : b);
        placed.emplace_back(c);
        const auto end = placed.size();
        products.push_back({placed[end - 3].view(), placed[end - 2].view(), placed[end - 1].view()});
      }
      multiply<G>(queue, 2, op_a, op_b, -1, products);
      queue.wait();
      for (std::size_t p = 0; p < expected.size(); ++p) {
        EXPECT_LE(largest_difference(placed[3 * p + 2].host(), expected[p]), rounding) << p;
      }
    }
  }
}

TEST(GpuBatchedAlgebra, CombinesBlocks) {
  tests::in_several_orders([] {
    Queue<G> queue(1);
    Placed a(random_dense(70, 5, 1)), b(random_dense(2, 40, 2)), to_a(random_dense(70, 5, 3)),
        to_b(random_dense(2, 40, 4));
    const Dense a_before = to_a.host(), b_before = to_b.host();
    const std::vector<Block<double, double, G>> blocks = {{a.view(), to_a.view()}, {b.view(), to_b.view()}};
    combine<G, double, double>(queue, 3, 0.5, blocks);
    Dense expected = a.host();
    for (std::size_t i = 0; i < expected.numbers.size(); ++i) {
      expected.numbers[i] = 3 * expected.numbers[i] + 0.5 * a_before.numbers[i];
    }
    EXPECT_LE(largest_difference(to_a.host(), expected), 1e-14);
    expected = b.host();
    for (std::size_t i = 0; i < expected.numbers.size(); ++i) {
      expected.numbers[i] = 3 * expected.numbers[i] + 0.5 * b_before.numbers[i];
    }
    EXPECT_LE(largest_difference(to_b.host(), expected), 1e-14);

    // Narrow and wide again, into what was never written.
    DeviceMatrix<float> narrow(70, 5);
    DeviceMatrix<double> wide(70, 5);
    const std::vector<Block<double, float, G>> down = {{a.view(), narrow.view()}};
    const std::vector<Block<float, double, G>> up = {{narrow.in(), wide.view()}};
    combine<G, double, float>(queue, 1, 0, down);
    combine<G, float, double>(queue, -2, 0, up);
    queue.wait();
    const std::vector<double> found = wide.host();
    const Dense given = a.host();
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i], -2 * static_cast<double>(static_cast<float>(given.numbers[i])));
    }
  });
}

TEST(GpuBatchedAlgebra, RoundsAfterScaling) {
  tests::in_several_orders([] {
    Queue<G> queue(1);
    const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
    Dense large = random_dense(33, 20, 1), small = random_dense(4, 4, 2), odd = random_dense(3, 3, 3);
    for (double& number : large.numbers) number = std::ldexp(number, 300);
    for (double& number : small.numbers) number = std::ldexp(number, -300);
    odd(1, 1) = nan;
    Dense without_end = odd;
    without_end(0, 2) = -infinity;
    std::vector<Placed> from;
    for (const Dense& a : {large, small, odd, without_end, Dense(2, 5)}) from.emplace_back(a);
    std::vector<DeviceMatrix<float>> to;
    std::vector<Block<double, float, G>> blocks;
    for (Placed& a : from) to.emplace_back(a.view().rows, a.view().cols);
    for (std::size_t t = 0; t < to.size(); ++t) blocks.push_back({from[t].view(), to[t].view()});
    round_scaled<G>(queue, blocks);
    queue.wait();
    for (std::size_t t = 0; t < to.size(); ++t) {
      const Dense given = from[t].host();
      double largest = 0;
      for (const double number : given.numbers) largest = std::max(largest, std::isnan(number) ? 0 : std::fabs(number));
      const double scale = largest > 0 && std::isfinite(largest) ? std::ldexp(1.0, -std::ilogb(largest)) : 1.0;
      const std::vector<float> found = to[t].host();
      for (std::size_t i = 0; i < found.size(); ++i) {
        if (std::isnan(given.numbers[i])) {
          EXPECT_TRUE(std::isnan(found[i]));
        } else {
          ASSERT_EQ(found[i], static_cast<float>(given.numbers[i] * scale)) << t << ", " << i;
        }
      }
    }
  });
}

Dense definite(index_t n, unsigned seed) {
  const Dense x = random_dense(n, 2 * n, seed);
  return x * transposed(x);
}

TEST(GpuBatchedAlgebra, SolvesWithCholeskyFactors) {
  tests::in_several_orders([] {
    Queue<G> queue(1);
    const index_t sizes[] = {7, 40, 7, 1, 40};
    std::vector<Dense> a, x;
    std::vector<Placed> factors, solved;
    factors.reserve(5), solved.reserve(5);
    std::vector<MatrixView<double, G>> matrices;
    std::vector<CholeskySystem<G>> systems;
    for (unsigned t = 0; t < 5; ++t) {
      a.push_back(definite(sizes[t], t));
      x.push_back(random_dense(t == 4 ? 2 : 5, sizes[t], 10 + t));
      if (t == 1) a[t](3, 3) = -1;  // has no factor
      factors.emplace_back(a[t]);
      solved.emplace_back(x[t]);
      matrices.push_back(factors[t].view());
      if (t != 1) systems.push_back({factors[t].view(), solved[t].view()});
    }
    damp<G>(queue, 0.25, matrices);
    std::vector<std::uint8_t> is_definite(5);
    cholesky<G>(queue, matrices, is_definite);
    solve_cholesky<G>(queue, systems);
    queue.wait();
    for (std::size_t t = 0; t < 5; ++t) {
      EXPECT_EQ(is_definite[t] != 0, t != 1);
      if (t == 1) continue;
      double mean = 0;
      for (index_t i = 0; i < sizes[t]; ++i) mean += a[t](i, i) / static_cast<double>(sizes[t]);
      for (index_t i = 0; i < sizes[t]; ++i) a[t](i, i) += 0.25 * mean;
      // Condition at most 30 with this damping.
      EXPECT_LE(largest_difference(solved[t].host() * a[t], x[t]), 1e-11) << t;
    }
  });
}

TEST(GpuBatchedAlgebra, FindsEigenvalues) {
  Queue<G> queue(1);
  // Q diag(1 … 5) Qᵀ by reflections Q = I - 2 v vᵀ.
  const index_t n = 5, count = 3;
  std::vector<double> numbers;
  for (index_t t = 0; t < count; ++t) {
    Dense v = random_dense(n, 1, static_cast<unsigned>(t)), q(n, n), lambda(n, n);
    double square = 0;
    for (const double number : v.numbers) square += number * number;
    for (index_t i = 0; i < n; ++i) {
      for (index_t j = 0; j < n; ++j) q(i, j) = (i == j ? 1 : 0) - 2 * v(i, 0) * v(j, 0) / square;
      lambda(i, i) = static_cast<double>((t + 1) * (i + 1));
    }
    Dense a = q * lambda * transposed(q);
    for (index_t i = 0; i < n; ++i) {
      for (index_t j = i + 1; j < n; ++j) a(i, j) = 99;  // not read
    }
    numbers.insert(numbers.end(), a.numbers.begin(), a.numbers.end());
  }
  DeviceMatrix<double> matrices(numbers, count * n, n), lambda(count, n);
  std::vector<std::uint8_t> has_converged(count);
  eigenvalues<G>(queue, n, matrices.view().data, lambda.view().data, has_converged);
  const std::vector<double> found = lambda.host();
  for (index_t t = 0; t < count; ++t) {
    EXPECT_TRUE(has_converged[static_cast<std::size_t>(t)]);
    for (index_t i = 0; i < n; ++i) {
      EXPECT_NEAR(found[static_cast<std::size_t>(t * n + i)], static_cast<double>((t + 1) * (i + 1)), 10 * rounding);
    }
  }
}

TEST(GpuBatchedAlgebra, SumsProductsOfRows) {
  tests::in_several_orders([] {
    Queue<G> queue(1);
    Placed a(random_dense(9, 71, 1)), b(random_dense(9, 71, 2));
    DeviceMatrix<double> sums(1, 9);
    row_products<G>(queue, a.view(), b.view(), sums.view().data);
    queue.wait();
    const Dense expected = a.host() * transposed(b.host());
    for (index_t i = 0; i < 9; ++i) {
      EXPECT_NEAR(sums.host()[static_cast<std::size_t>(i)], expected(i, i), rounding);
    }
  });
}

TEST(GpuBatchedAlgebra, MakesRowsOrthonormal) {
  tests::in_several_orders([] {
    Queue<G> queue(1);
    struct Shape {
      index_t h, k, w;
    };
    const Shape shapes[] = {{9, 5, 33}, {40, 32, 32}, {3, 1, 7}, {4, 0, 6}, {20, 12, 70}};
    std::vector<Placed> placed;
    placed.reserve(10);
    std::vector<Dense> products;
    std::vector<FactorPair<G>> pairs;
    unsigned seed = 0;
    for (const auto& [h, k, w] : shapes) {
      const Dense left = random_dense(h, k, ++seed);
      Dense right = random_dense(k, w, ++seed);
      // Rows that nearly agree, where one step of Gram and Schmidt would not do; in the last one that does.
      for (index_t c = 0; k > 4 && c < w; ++c) right(3, c) = right(1, c) + 1e-6 * right(3, c);
      for (index_t c = 0; k == 12 && c < w; ++c) right(7, c) = right(2, c) - 2 * right(5, c);
      products.push_back(left * right);
      placed.emplace_back(left);
      placed.emplace_back(right);
      const auto end = placed.size();
      pairs.push_back({placed[end - 2].view(), placed[end - 1].view()});
    }
    EXPECT_TRUE(orthonormalize_rows<G>(queue, pairs));
    queue.wait();
    for (std::size_t p = 0; p < products.size(); ++p) {
      const Dense left = placed[2 * p].host(), right = placed[2 * p + 1].host();
      EXPECT_LE(largest_difference(left * right, products[p]), 10 * rounding) << p;
      Dense identity(right.rows, right.rows);
      for (index_t i = 0; i < right.rows; ++i) identity(i, i) = shapes[p].k == 12 && i == 7 ? 0 : 1;
      EXPECT_LE(largest_difference(right * transposed(right), identity), rounding) << p;
    }
  });
}

}  // namespace
}  // namespace hack::kernels
