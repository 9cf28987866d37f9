#include "kernels/gram.hpp"

#include <cblas.h>
#include <omp.h>

#include <algorithm>

#include "kernels/cpu/memory/scratch.hpp"

namespace hack::kernels {
namespace {

constexpr index_t block = 192;
thread_local Scratch partial;  // (block, block)

/// Adds the products of all tokens to one block of the sum: f32 within a call, double from call to call, so that the
/// error grows with the tokens of a call and not with all tokens.
void add_block(MatrixView<const float> a, MatrixView<const float> b, MatrixView<double> sum) {
  float* products = partial.get(block * block);
  const auto as_int = [](index_t n) { return static_cast<blasint>(n); };
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, as_int(a.cols), as_int(b.cols), as_int(a.rows), 1.0f, a.data,
              as_int(a.ld), b.data, as_int(b.ld), 0.0f, products, as_int(block));
  for (index_t i = 0; i < sum.rows; ++i) {
    for (index_t j = 0; j < sum.cols; ++j) sum(i, j) += static_cast<double>(products[i * block + j]);
  }
}

void add_blocks(Queue<Device::cpu>& queue, MatrixView<const float> a, MatrixView<const float> b, MatrixView<double> sum,
                bool lower_only) {
  HACK_EXPECT(a.rows == b.rows && sum.rows == a.cols && sum.cols == b.cols);
  if (a.rows == 0) return;
  const index_t block_cols = (sum.cols + block - 1) / block;
  const index_t blocks = (sum.rows + block - 1) / block * block_cols;
  openblas_set_num_threads(1);
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (index_t number = 0; number < blocks; ++number) {
    const index_t i = number / block_cols * block;
    const index_t j = number % block_cols * block;
    if (lower_only && j > i) continue;
    const index_t m = std::min(block, sum.rows - i);
    const index_t n = std::min(block, sum.cols - j);
    add_block(a.block(0, i, a.rows, m), b.block(0, j, b.rows, n), sum.block(i, j, m, n));
  }
}

}  // namespace

template <>
void add_outer_products<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> a, MatrixView<const float> b,
                                     MatrixView<double> sum) {
  add_blocks(queue, a, b, sum, false);
}

template <>
void add_gram<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> x, MatrixView<double> sum) {
  add_blocks(queue, x, x, sum, true);
}

}  // namespace hack::kernels
