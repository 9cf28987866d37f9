#pragma once

#include "kernels/cuda/linear/product.cuh"

namespace hack::kernels::cuda {

/// Some rows and columns of a product of a tile: out(i, j) = Σ_l a(i, l) s(l) b(l, j), any of the two transposed in
/// memory.
struct FactorShare {
  const float* a = nullptr;
  index_t a_row = 0, a_step = 0;  // from one i, one l to the next
  const float* b = nullptr;
  index_t b_step = 0, b_col = 0;  // from one l, one j to the next
  const float* scale = nullptr;   // s (depth), or all 1
  Array<float> out;               // at most 64 × 64
  int depth = 0;
};

/// Products of tiles: a block a share.
struct FactorProducts {
  static constexpr const char* name = "FactorProducts";
  using Product = BlockProduct<float>;
  static constexpr int max_threads = Product::threads;
  const FactorShare* shares = nullptr;
  index_t count = 0;

  Geometry geometry() const { return {count, max_threads, Product::shared_words}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const FactorShare share = shares[exec.block()];
    Product product;
    product.add(
        exec, share.depth,
        [&](int i, int l) {
          if (i >= share.out.rows) return 0.0f;
          const float value = share.a[i * share.a_row + l * share.a_step];
          return share.scale != nullptr ? value * share.scale[l] : value;
        },
        [&](int j, int l) { return j < share.out.cols ? share.b[l * share.b_step + j * share.b_col] : 0.0f; });
    product.for_each(exec, [&](int i, int j, float sum) {
      if (i < share.out.rows && j < share.out.cols) share.out.row(i)[j] = sum;
    });
  }
};

}  // namespace hack::kernels::cuda

#define HACK_FACTOR_PRODUCTS_KERNELS(X) X(FactorProducts)
