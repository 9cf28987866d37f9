#pragma once

// Every kernel there is. tests/simt/ runs each of them and fails where one was left out.

#include "kernels/cuda/llama/attention.cuh"
#include "kernels/cuda/factorize/batched_algebra.cuh"
#include "kernels/cuda/llama/elementwise.cuh"
#include "kernels/cuda/llama/head_projection.cuh"
#include "kernels/cuda/train/attention_gradient.cuh"
#include "kernels/cuda/train/back_propagation.cuh"
#include "kernels/cuda/train/batched_products.cuh"
#include "kernels/cuda/linear/factored_linear.cuh"
#include "kernels/cuda/linear/factored_product.cuh"
#include "kernels/cuda/linear/gated_linear.cuh"
#include "kernels/cuda/train/gradient.cuh"
#include "kernels/cuda/factorize/gram.cuh"
#include "kernels/cuda/factorize/gram_svd.cuh"
#include "kernels/cuda/factorize/kept_vectors.cuh"
#include "kernels/cuda/linear/linear.cuh"
#include "kernels/cuda/linear/tile_product.cuh"
#include "kernels/cuda/llama/norm.cuh"
#include "kernels/cuda/llama/peer_reduction.cuh"
#include "kernels/cuda/factorize/interpolative.cuh"
#include "kernels/cuda/llama/sampling.cuh"
#include "kernels/cuda/factorize/tile_svd.cuh"
#include "kernels/cuda/llama/vocabulary.cuh"

#define HACK_ALL_KERNELS(X)          \
  HACK_ELEMENTWISE_KERNELS(X)        \
  HACK_LINEAR_KERNELS(X)             \
  HACK_BATCHED_PRODUCTS_KERNELS(X)   \
  HACK_FACTORED_KERNELS(X)           \
  HACK_FACTORED_PRODUCT_KERNELS(X)   \
  HACK_GATED_KERNELS(X)              \
  HACK_TILE_PRODUCT_KERNELS(X)       \
  HACK_SAMPLING_KERNELS(X)           \
  HACK_GRADIENT_KERNELS(X)           \
  HACK_BACK_PROPAGATION_KERNELS(X)   \
  HACK_ATTENTION_GRADIENT_KERNELS(X) \
  HACK_INTERPOLATIVE_KERNELS(X)      \
  HACK_NORM_KERNELS(X)               \
  HACK_HEAD_PROJECTION_KERNELS(X)    \
  HACK_PEER_KERNELS(X)               \
  HACK_ATTENTION_KERNELS(X)          \
  HACK_VOCABULARY_KERNELS(X)         \
  HACK_BATCHED_ALGEBRA_KERNELS(X)    \
  HACK_GRAM_KERNELS(X)               \
  HACK_GRAM_SVD_KERNELS(X)           \
  HACK_TILE_SVD_KERNELS(X)           \
  HACK_KEPT_VECTORS_KERNELS(X)
