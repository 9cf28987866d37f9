#pragma once

// Every kernel there is. tests/simt/ runs each of them and fails where one was left out.

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/batched_algebra.cuh"
#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/factor_products.cuh"
#include "kernels/cuda/factored_linear.cuh"
#include "kernels/cuda/factored_product.cuh"
#include "kernels/cuda/gated_linear.cuh"
#include "kernels/cuda/gradient.cuh"
#include "kernels/cuda/gram.cuh"
#include "kernels/cuda/gram_svd.cuh"
#include "kernels/cuda/kept_vectors.cuh"
#include "kernels/cuda/linear.cuh"
#include "kernels/cuda/peer_reduction.cuh"
#include "kernels/cuda/pivot.cuh"
#include "kernels/cuda/sampling.cuh"
#include "kernels/cuda/tile_svd.cuh"
#include "kernels/cuda/vocabulary.cuh"

#define HACK_ALL_KERNELS(X)        \
  HACK_ELEMENTWISE_KERNELS(X)      \
  HACK_LINEAR_KERNELS(X)           \
  HACK_FACTOR_PRODUCTS_KERNELS(X)  \
  HACK_FACTORED_KERNELS(X)         \
  HACK_FACTORED_PRODUCT_KERNELS(X) \
  HACK_GATED_KERNELS(X)            \
  HACK_SAMPLING_KERNELS(X)         \
  HACK_GRADIENT_KERNELS(X)         \
  HACK_PIVOT_KERNELS(X)            \
  HACK_PEER_KERNELS(X)             \
  HACK_ATTENTION_KERNELS(X)        \
  HACK_VOCABULARY_KERNELS(X)       \
  HACK_BATCHED_ALGEBRA_KERNELS(X)  \
  HACK_GRAM_KERNELS(X)             \
  HACK_GRAM_SVD_KERNELS(X)         \
  HACK_TILE_SVD_KERNELS(X)         \
  HACK_KEPT_VECTORS_KERNELS(X)
