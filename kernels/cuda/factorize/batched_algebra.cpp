#include "kernels/batched_algebra.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "kernels/cuda/factorize/batched_algebra.cuh"
#include "kernels/cuda/factorize/dense_library.hpp"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using cuda::array_of;
using cuda::RowShare;
using cuda::Workspace;

/// A list in the device's memory, until the next of its purpose.
template <class T>
T* listed(Queue<D>& queue, Workspace purpose, const std::vector<T>& list) {
  T* there = queue.resources().workspace<T>(purpose, std::ssize(list));
  cuda::upload(queue, there, list.data(), list.size() * sizeof(T));
  return there;
}

/// Indices of a batch's members by a key, such as their shape.
template <class Key>
using Groups = std::map<Key, std::vector<std::size_t>>;

/// Blocks cut into shares of a few rows, or whole.
template <class From, class To>
std::vector<RowShare<From, To>> shares_of(std::span<const Block<From, To, D>> blocks, bool is_cut) {
  std::vector<RowShare<From, To>> shares;
  for (const Block<From, To, D>& block : blocks) {
    HACK_EXPECT(block.from.rows == block.to.rows && block.from.cols == block.to.cols);
    if (block.to.rows * block.to.cols == 0) continue;
    const index_t step = is_cut ? RowShare<From, To>::most_rows : block.to.rows;
    for (index_t i = 0; i < block.to.rows; i += step) {
      const index_t rows = std::min(step, block.to.rows - i);
      shares.push_back({array_of(block.from.rows_from(i, rows)), array_of(block.to.rows_from(i, rows))});
    }
  }
  return shares;
}

template <class From, class To>
void combine_blocks(Queue<D>& queue, double alpha, double beta, std::span<const Block<From, To, D>> blocks) {
  const auto shares = shares_of(blocks, true);
  if (shares.empty()) return;
  cuda::launch(queue,
               cuda::Combine<From, To>{listed(queue, Workspace::tiles, shares), std::ssize(shares), alpha, beta});
}

}  // namespace

template <>
void multiply<D>(Queue<D>& queue, double alpha, Transpose op_a, Transpose op_b, double beta,
                 std::span<const Product<D>> products) {
  Groups<cuda::ProductShape> by_shape;
  for (std::size_t p = 0; p < products.size(); ++p) {
    const auto& [a, b, c] = products[p];
    const bool turns_a = op_a == Transpose::yes, turns_b = op_b == Transpose::yes;
    const index_t k = turns_a ? a.rows : a.cols;
    HACK_EXPECT((turns_a ? a.cols : a.rows) == c.rows && (turns_b ? b.rows : b.cols) == c.cols);
    HACK_EXPECT((turns_b ? b.cols : b.rows) == k);
    if (c.rows * c.cols > 0) by_shape[{c.rows, c.cols, k, turns_a, turns_b, a.ld, b.ld, c.ld}].push_back(p);
  }
  if (by_shape.empty()) return;
  std::vector<cuda::ProductGroup> groups;
  std::vector<const double*> a, b;
  std::vector<double*> c;
  for (const auto& [shape, members] : by_shape) {
    groups.push_back({shape, std::ssize(c), std::ssize(members)});
    for (const std::size_t p : members) {
      a.push_back(products[p].a.data);
      b.push_back(products[p].b.data);
      c.push_back(products[p].c.data);
    }
  }
  cuda::library_multiply(queue, alpha, beta, groups, {a.data(), b.data(), c.data()},
                         {listed(queue, Workspace::first_addresses, a), listed(queue, Workspace::second_addresses, b),
                          listed(queue, Workspace::third_addresses, c)});
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
  const auto whole = shares_of(blocks, false);
  if (!whole.empty()) {
    cuda::launch(queue, cuda::RoundScaled{listed(queue, Workspace::tiles, whole), std::ssize(whole)});
  }
}

template <>
void damp<D>(Queue<D>& queue, double relative, std::span<const MatrixView<double, D>> matrices) {
  std::vector<cuda::Array<double>> list;
  for (const MatrixView<double, D>& a : matrices) {
    HACK_EXPECT(a.rows == a.cols);
    if (a.rows > 0) list.push_back(array_of(a));
  }
  if (list.empty()) return;
  cuda::launch(queue, cuda::Damp{listed(queue, Workspace::tiles, list), std::ssize(list), relative});
}

template <>
void cholesky<D>(Queue<D>& queue, std::span<const MatrixView<double, D>> matrices,
                 std::span<std::uint8_t> is_definite) {
  HACK_EXPECT(matrices.size() == is_definite.size());
  Groups<std::pair<index_t, index_t>> by_size;
  for (std::size_t t = 0; t < matrices.size(); ++t) {
    HACK_EXPECT(matrices[t].rows == matrices[t].cols);
    is_definite[t] = 1;
    if (matrices[t].rows > 0) by_size[{matrices[t].rows, matrices[t].ld}].push_back(t);
  }
  for (const auto& [size, members] : by_size) {
    std::vector<double*> addresses;
    for (const std::size_t t : members) addresses.push_back(matrices[t].data);
    int* info = queue.resources().workspace<int>(Workspace::results, std::ssize(members));
    cuda::library_cholesky(queue,
                           {size.first, size.second, std::ssize(members), addresses.data(),
                            listed(queue, Workspace::first_addresses, addresses)},
                           info);
    std::vector<int> found(members.size());
    cuda::download(queue, found.data(), info, found.size() * sizeof(int));
    for (std::size_t n = 0; n < members.size(); ++n) is_definite[members[n]] = found[n] == 0;
  }
}

template <>
void solve_cholesky<D>(Queue<D>& queue, std::span<const CholeskySystem<D>> systems) {
  Groups<std::tuple<index_t, index_t, index_t, index_t>> by_size;
  for (std::size_t s = 0; s < systems.size(); ++s) {
    const auto& [l, x] = systems[s];
    HACK_EXPECT(l.rows == l.cols && x.cols == l.rows);
    if (x.rows * x.cols > 0) by_size[{l.rows, l.ld, x.rows, x.ld}].push_back(s);
  }
  for (const auto& [size, members] : by_size) {
    std::vector<double*> l, x;
    for (const std::size_t s : members) {
      l.push_back(const_cast<double*>(systems[s].l.data));  // only read
      x.push_back(systems[s].x.data);
    }
    const auto [n, l_ld, rows, x_ld] = size;
    cuda::library_solve(queue, {n, l_ld, std::ssize(members), l.data(), listed(queue, Workspace::first_addresses, l)},
                        {rows, x_ld, x.data(), listed(queue, Workspace::second_addresses, x)});
  }
}

template <>
bool orthonormalize_rows<D>(Queue<D>& queue, std::span<const FactorPair<D>> pairs) {
  std::vector<cuda::OrthonormalJob> jobs;
  index_t numbers = 0;
  for (const FactorPair<D>& pair : pairs) {
    const index_t k = pair.right.rows;
    HACK_EXPECT(pair.left.cols == k && k <= pair.right.cols);
    if (k == 0) continue;
    jobs.push_back({array_of(pair.left), array_of(pair.right), nullptr, nullptr});
    numbers += k * (k + 1);
  }
  if (jobs.empty()) return true;
  double* space = queue.resources().workspace<double>(Workspace::tile_space, numbers);
  for (cuda::OrthonormalJob& job : jobs) {
    const index_t k = job.right.rows;
    job.triangle = space;
    job.coefficients = space + k * k;
    space += k * (k + 1);
  }
  cuda::launch(queue, cuda::OrthonormalizeRows{listed(queue, Workspace::tiles, jobs), std::ssize(jobs)});
  return true;
}

template <>
void eigenvalues<D>(Queue<D>& queue, index_t n, double* matrices, double* lambda,
                    std::span<std::uint8_t> has_converged) {
  if (n == 0 || has_converged.empty()) return;
  int* info = queue.resources().workspace<int>(Workspace::results, std::ssize(has_converged));
  cuda::library_eigenvalues(queue, n, std::ssize(has_converged), matrices, lambda, info);
  std::vector<int> found(has_converged.size());
  cuda::download(queue, found.data(), info, found.size() * sizeof(int));
  for (std::size_t t = 0; t < found.size(); ++t) has_converged[t] = found[t] == 0;
}

template <>
void row_products<D>(Queue<D>& queue, MatrixView<const double, D> a, MatrixView<const double, D> b, double* sums) {
  HACK_EXPECT(a.rows == b.rows && a.cols == b.cols);
  cuda::launch(queue, cuda::RowProducts{array_of(a), array_of(b), sums});
}

}  // namespace hack::kernels
