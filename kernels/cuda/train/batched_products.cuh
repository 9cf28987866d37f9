#pragma once

#include "kernels/cuda/linear/product.cuh"

namespace hack::kernels::cuda {

/// Some rows and columns of a product with the factors of a tile: out(i, j) = Σ_l a(i, l) s(l) b(l, j), each operand
/// transposed in memory or not.
struct ProductPart {
  const float* a = nullptr;
  index_t a_row = 0, a_step = 0;  // from one i, one l to the next
  const float* b = nullptr;
  index_t b_step = 0, b_col = 0;  // from one l, one j to the next
  const float* scale = nullptr;   // s (depth), or all 1
  Array<float> out;               // at most 64 × 64
  int depth = 0;
};

/// Small products of any shapes in one launch: a block of threads per part.
struct BatchedProducts {
  static constexpr const char* name = "BatchedProducts";
  using Product = BlockProduct<float>;
  static constexpr int max_threads = Product::threads;
  const ProductPart* parts = nullptr;
  index_t count = 0;

  Geometry geometry() const { return {count, max_threads, Product::shared_words}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const ProductPart part = parts[exec.block()];
    Product product;
    product.add(
        exec, part.depth,
        [&](int i, int l) {
          if (i >= part.out.rows) return 0.0f;
          const float value = part.a[i * part.a_row + l * part.a_step];
          return part.scale != nullptr ? value * part.scale[l] : value;
        },
        [&](int j, int l) { return j < part.out.cols ? part.b[l * part.b_step + j * part.b_col] : 0.0f; });
    product.for_each(exec, [&](int i, int j, float sum) {
      if (i < part.out.rows && j < part.out.cols) part.out.row(i)[j] = sum;
    });
  }
};

}  // namespace hack::kernels::cuda

#define HACK_BATCHED_PRODUCTS_KERNELS(X) X(BatchedProducts)
