#pragma once

#include "kernels/cpu/linear/panel_walk.hpp"

namespace hack::kernels {

/// Whether this CPU multiplies tiles of bf16 numbers (AMX-BF16) and the system lets this process do so.
bool has_amx();

/// AMX's tile registers, each 16 rows of 64 bytes, on this thread for as long as this lives. Needs has_amx().
class AmxTiles {
 public:
  AmxTiles();
  ~AmxTiles();
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
};

/// Of the product of pairs of bf16 numbers whose sums fill four tile registers. Needs AmxTiles.
constexpr index_t amx_rows = 32;
constexpr index_t amx_cols = 32;
constexpr index_t amx_lanes = 16;             ///< of k in a step
const MicroKernel::Multiply* amx_multiply();  ///< [R - 1]

}  // namespace hack::kernels
