#include "kernels/batched_algebra.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/error.hpp"
#include "kernels/cpu/factorize/linear_algebra.hpp"

namespace hack::kernels {
namespace {

constexpr Device D = Device::cpu;

/// Calls work(member) for all members of a batch.
template <class Work>
void for_each(Queue<D>& queue, std::size_t count, const Work& work) {
  hold_blas_to_one_thread();
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t t = 0; t < count; ++t) work(t);
}

template <class From, class To>
void combine_blocks(Queue<D>& queue, double alpha, double beta, std::span<const Block<From, To, D>> blocks) {
  for_each(queue, blocks.size(), [&](std::size_t t) {
    const auto& [from, to] = blocks[t];
    for (index_t i = 0; i < to.rows; ++i) {
      for (index_t j = 0; j < to.cols; ++j) {
        const double sum = alpha * static_cast<double>(from(i, j));
        to(i, j) = static_cast<To>(beta == 0 ? sum : sum + beta * static_cast<double>(to(i, j)));
      }
    }
  });
}

void round_one(MatrixView<const double> x, MatrixView<float> to) {
  double largest = 0;
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) largest = std::max(largest, std::fabs(x(i, j)));
  }
  const double scale = largest > 0 && std::isfinite(largest) ? std::ldexp(1.0, -std::ilogb(largest)) : 1.0;
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) to(i, j) = static_cast<float>(x(i, j) * scale);
  }
}

}  // namespace

template <>
void multiply<D>(Queue<D>& queue, double alpha, Transpose op_a, Transpose op_b, double beta,
                 std::span<const Product<D>> products) {
  for_each(queue, products.size(), [&](std::size_t p) {
    const auto& [a, b, c] = products[p];
    multiply(alpha, a, op_a, b, op_b, beta, c);
  });
}

template <>
void combine<D>(Queue<D>& queue, double alpha, double beta, std::span<const Block<float, double, D>> blocks) {
  combine_blocks(queue, alpha, beta, blocks);
}

template <>
void combine<D>(Queue<D>& queue, double alpha, double beta, std::span<const Block<double, float, D>> blocks) {
  combine_blocks(queue, alpha, beta, blocks);
}

template <>
void combine<D>(Queue<D>& queue, double alpha, double beta, std::span<const Block<double, double, D>> blocks) {
  combine_blocks(queue, alpha, beta, blocks);
}

template <>
void round_scaled<D>(Queue<D>& queue, std::span<const Block<double, float, D>> blocks) {
  for_each(queue, blocks.size(), [&](std::size_t t) { round_one(blocks[t].from, blocks[t].to); });
}

template <>
void damp<D>(Queue<D>& queue, double relative, std::span<const MatrixView<double, D>> matrices) {
  for_each(queue, matrices.size(), [&](std::size_t t) {
    const MatrixView<double, D>& a = matrices[t];
    double mean = 0;
    for (index_t i = 0; i < a.rows; ++i) mean += a(i, i) / static_cast<double>(a.rows);
    for (index_t i = 0; i < a.rows; ++i) a(i, i) += relative * mean;
  });
}

template <>
void cholesky<D>(Queue<D>& queue, std::span<const MatrixView<double, D>> matrices,
                 std::span<std::uint8_t> is_definite) {
  HACK_EXPECT(matrices.size() == is_definite.size());
  for_each(queue, matrices.size(), [&](std::size_t t) { is_definite[t] = cholesky(matrices[t]); });
}

template <>
void solve_cholesky<D>(Queue<D>& queue, std::span<const CholeskySystem<D>> systems) {
  for_each(queue, systems.size(), [&](std::size_t s) { solve_cholesky(systems[s].l, systems[s].x); });
}

template <>
bool orthonormalize_rows<D>(Queue<D>& queue, std::span<const FactorPair<D>> pairs) {
  index_t largest = 0;
  for (const FactorPair<D>& pair : pairs) largest = std::max(largest, pair.right.rows);
  std::vector<Buffer<double>> spaces;  // per thread: the triangle (k, k), tau (k)
  for (int t = 0; t < queue.threads(); ++t) spaces.emplace_back(largest * (largest + 1));
  std::vector<std::uint8_t> is_done(pairs.size(), 1);
  for_each(queue, pairs.size(), [&](std::size_t p) {
    const index_t k = pairs[p].right.rows;
    if (k == 0) return;
    double* space = spaces[static_cast<std::size_t>(omp_get_thread_num())].data();
    const MatrixView<double> triangle(space, k, k);
    is_done[p] = orthonormalize_rows(pairs[p].right, triangle, {space + k * k, static_cast<std::size_t>(k)});
    if (is_done[p]) multiply_triangular(pairs[p].left, triangle, Transpose::no);
  });
  return std::all_of(is_done.begin(), is_done.end(), [](std::uint8_t done) { return done != 0; });
}

template <>
void eigenvalues<D>(Queue<D>& queue, index_t n, double* matrices, double* lambda,
                    std::span<std::uint8_t> has_converged) {
  for_each(queue, has_converged.size(), [&](std::size_t t) {
    const auto at = static_cast<index_t>(t);
    has_converged[t] = eigenvalues({matrices + at * n * n, n, n}, {lambda + at * n, static_cast<std::size_t>(n)});
  });
}

template <>
void row_products<D>(Queue<D>& queue, MatrixView<const double, D> a, MatrixView<const double, D> b, double* sums) {
  HACK_EXPECT(a.rows == b.rows && a.cols == b.cols);
  for_each(queue, static_cast<std::size_t>(a.rows), [&](std::size_t row) {
    const auto i = static_cast<index_t>(row);
    double sum = 0;
    for (index_t j = 0; j < a.cols; ++j) sum += a(i, j) * b(i, j);
    sums[row] = sum;
  });
}

}  // namespace hack::kernels
