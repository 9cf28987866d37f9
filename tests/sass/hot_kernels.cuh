#pragma once

#include "kernels/cuda/factorize/tile_svd.cuh"
#include "kernels/cuda/linear/factored_product.cuh"
#include "kernels/cuda/linear/gated_linear.cuh"
#include "kernels/cuda/linear/linear.cuh"
#include "kernels/cuda/linear/tile_product.cuh"
#include "kernels/cuda/llama/attention.cuh"
#include "kernels/cuda/llama/head_projection.cuh"
#include "kernels/cuda/llama/norm.cuh"
#include "kernels/cuda/llama/peer_reduction.cuh"

// The kernels in which programs spend their time, and what their machine code is held to (check_sass.py).
//
// Streams read weights at the memory's speed: S(instructions, kernel). A multiprocessor of an H200 gets 4.8 TB/s /
// 132 = 36 GB/s, which is 21 bytes a clock at 1.75 GHz, so that a warp's load of 512 bytes comes every 25 clocks. In
// these, its four schedulers issue 99 instructions; an A100 has 147 (1.56 TB/s, 108 multiprocessors, 1.41 GHz, 10 bytes
// a clock, 200) and a B200 109 (8 TB/s, 148, 1.9 GHz, 28 bytes, 72). What is held is the count of the loop that is
// there, rounded up, and no more than leaves schedulers idle for a third of the time where the memory is the limit:
//
//   bf16, f16  8 widenings, 8 multiply-adds, 1 read of shared memory, the load, the loop: 21
//   f32        4 multiply-adds, half a read, the load, the loop: 8
//   int8       16 numbers of 2 (a byte as the last bits of a float, less 2^23), 4 turned signs, 16 multiply-adds
//   q8_0       as int8, and the scale: its own load, a product a number. The load is of half as many numbers as int8's
//   are
//              where blocks are of 32: lanes 2 i and 2 i + 1 share a block, of which each takes 16 numbers
//   q4_0       16 numbers of 3 (byte, 2^23, scale and minimum), codes out of half bytes, 16 multiply-adds. Lanes 2 i
//   and 2 i
//              + 1 read the same 16 bytes, so that the bytes from memory are half of the loads': bound by instructions
//   8 tokens   the widenings once, multiply-adds eight times: 80 of bf16, four fifths of what an H200 issues
//
// Products with tiles have in the loop of right rows a sum over eight lanes for every two loads of bf16 (9 more of 21),
// in that of left rows where each load and row begins (8 more); codes of blocks likewise for every load of 16 numbers.
//
// Other kernels are held to what they are meant to be: without spills, with tensor cores, or with loads of 16 bytes.

#define HACK_SASS_STREAMS(S)       \
  S(16, MatVec<float, 1>)          \
  S(32, MatVec<bf16, 1>)           \
  S(32, MatVec<f16, 1>)            \
  S(64, MatVec<std::int8_t, 1>)    \
  S(84, MatVec<Q8_0Codes, 1>)      \
  S(90, MatVec<Q4_1Codes, 1>)      \
  S(90, MatVec<Q4_0Codes, 1>)      \
  S(200, MatVec<Iq4NlCodes, 1>)    \
  S(130, MatVec<Q2_64Codes, 1>)    \
  S(32, MatVecGated<bf16, 1>)      \
  S(32, ProjectHeads<bf16>)        \
  S(90, MatVecGated<Q4_0Codes, 1>) \
  S(84, MatVec<bf16, 8>)           \
  S(84, MatVecGated<bf16, 8>)

/// The same of codecs whose blocks are no whole loads of 16 bytes, or have scales of groups beside them: instructions
/// for a run of 16 numbers.
#define HACK_SASS_RUN_STREAMS(S) \
  S(112, MatVec<Q4KCodes, 1>)    \
  S(112, MatVec<Q5_1Codes, 1>)   \
  S(112, MatVec<Q5_0Codes, 1>)   \
  S(152, MatVec<Q3_64Codes, 1>)  \
  S(112, MatVec<Q6KCodes, 1>)    \
  S(136, MatVec<Q5KCodes, 1>)

/// R(instructions, kernel): tiles, whose loops of right and of left rows are both held to the number.
#define HACK_SASS_TILES(R)                 \
  R(20, TileProduct<float, 1, true>)       \
  R(32, TileProduct<bf16, 1, true>)        \
  R(32, TileProduct<f16, 1, true>)         \
  R(84, TileProduct<std::int8_t, 1, true>) \
  R(104, TileProduct<Q8_0Codes, 1, true>)  \
  R(110, TileProduct<Q4_1Codes, 1, true>)  \
  R(110, TileProduct<Q4_0Codes, 1, true>)  \
  R(220, TileProduct<Iq4NlCodes, 1, true>) \
  R(150, TileProduct<Q2_64Codes, 1, true>) \
  R(40, TileProduct<bf16, 1, false>)       \
  R(120, TileProduct<bf16, 8, true>)
#define HACK_SASS_RUN_TILES(R)            \
  R(134, TileProduct<Q5_1Codes, 1, true>) \
  R(134, TileProduct<Q5_0Codes, 1, true>) \
  R(172, TileProduct<Q3_64Codes, 1, true>)

/// T(kernel): tensor cores.
#define HACK_SASS_PRODUCTS(T) \
  T(MatMul<bf16>)             \
  T(ProjectMany<bf16>)        \
  T(ExpandMany<bf16>)

/// L(kernel): loads of 16 bytes, somewhere.
#define HACK_SASS_WIDE(L) \
  L(RmsNorm)              \
  L(AddNorm)              \
  L(ReduceAddNorm)        \
  L(Project<bf16, 1>)     \
  L(Expand<bf16, 1>)

/// N(kernel): no spills.
#define HACK_SASS_OTHERS(N) \
  N(AttendPart)             \
  N(AttendBlock<128>)       \
  N(JacobiSvd)
